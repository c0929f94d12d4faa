"""Oracles: brute-force Jacobians, round trips, quadrature to one, draws against the density, closed-form Gaussians."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from unigen.distributions.bijection import inverse, value_and_log_det
from unigen.distributions.channel_layers import ActNorm, LULinear, Permutation
from unigen.distributions.flows import ChangeOfVariables
from unigen.distributions.layers import Autoregressive, Coupling, Inverse, Logit, assemble, first_layers
from unigen.distributions.transforms import Additive, Affine, Spline
from unigen.errors import ContextError

F64 = torch.float64
LAYERS = {
    "RealNVP": lambda hidden: [Coupling(Affine(), hidden)],
    "NICE": lambda hidden: [Coupling(Additive(), hidden)],
    "NSF coupling": lambda hidden: [Coupling(Spline(8), hidden)],
    "NSF autoregressive": lambda hidden: [Autoregressive(Spline(8), hidden)],
    "MAF": lambda hidden: [Autoregressive(Affine(), hidden)],
    "IAF": lambda hidden: [Inverse(Autoregressive(Affine(), hidden))],
    "linear": lambda hidden: [ActNorm(), LULinear(), Inverse(Coupling(Spline(4), hidden)), Permutation()],
}
each_flow = pytest.mark.parametrize("name", LAYERS)
each_support = pytest.mark.parametrize("support", ["real", "unit", "logit"])


def build(name, features, *, support="real", context=0, hidden=(16, 16), transforms=3):
    first = first_layers(Logit() if support == "logit" else support)
    return ChangeOfVariables(
        assemble([*first, *LAYERS[name](hidden) * transforms], (features,), context), context=context
    )


def trained(name, features, *, support="real", context=0, scale=0.1, marginal=0.5, **options):
    """A flow away from its start, as training would leave it."""
    flow = build(name, features, context=context, support=support, **options).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
        if support == "unit":
            flow.steps[0].phi.add_(marginal * torch.randn_like(flow.steps[0].phi))
    return flow.requires_grad_(False)


def data(n, features, support):
    return (
        torch.rand(n, features, dtype=F64) if support != "real" else 2 * torch.randn(n, features, dtype=F64)
    )


@each_flow
@each_support
@pytest.mark.parametrize(("features", "context"), [(1, 0), (1, 2), (2, 0), (5, 3)])
def test_log_det_equals_the_brute_force_jacobian(name, support, features, context):
    flow = trained(name, features, support=support, context=context)
    x = data(20, features, support)
    c = torch.randn(20, context, dtype=F64) if context else None
    _, ladj = value_and_log_det(flow.transform(c), x)
    for i in range(20):
        f = flow.transform(None if c is None else c[i])
        j = torch.autograd.functional.jacobian(lambda v, f=f: f(v), x[i])
        assert abs(float(torch.linalg.slogdet(j)[1] - ladj[i])) < 1e-10


@each_flow
@each_support
@pytest.mark.parametrize("features", [1, 5, 16])
def test_round_trip(name, support, features):
    flow = trained(name, features, support=support)
    x = data(200, features, support)
    f = flow.transform()
    assert (inverse(f, f(x)) - x).abs().max() < 1e-12
    single = flow.float()
    x = x.float()
    f = single.transform()
    error = (inverse(f, f(x)) - x).abs()
    loose = 20 if name == "linear" else 1  # the condition number of its matrices
    assert error.quantile(0.99) < loose * 1e-5 and error.max() < loose * 1e-4  # 60 seeds: at most 1.4e-5


@each_flow
def test_round_trip_far_out(name):
    f = trained(name, 4).transform()
    x = 1e4 * torch.randn(100, 4, dtype=F64)
    assert ((inverse(f, f(x)) - x).abs() / x.abs().amax(-1, keepdim=True)).max() < 1e-12


def pieces(cuts, order):
    """Gauss–Legendre nodes and weights on each interval between cuts, shapes (intervals, order)."""
    u, w = (torch.as_tensor(a) for a in np.polynomial.legendre.leggauss(order))
    half = cuts.diff()[:, None] / 2
    return cuts[:-1, None] + half * (u + 1), half * w


def substitute(t, w, support):
    """Nodes and weights in x from those in t; x = Φ(t) or sigmoid(t) on the interval, whose ends may be singular."""
    if support == "real":
        return t, w
    if support == "logit":
        return torch.sigmoid(t), w * torch.sigmoid(t) * torch.sigmoid(-t)
    return torch.special.ndtr(t), w * torch.exp(-0.5 * t.square()) / math.sqrt(2 * math.pi)


def nodes(flow, support, i, order, split=1):
    """An axis for quadrature of feature i, cut at the knots of the first step, where the density has kinks."""
    cuts = torch.linspace(-14, 14, 15, dtype=F64)
    if support == "unit":
        knots = flow.transform().transforms[0].inner.horizontal[i, 1:-1] + 0.5
        ends = torch.tensor([8.2], dtype=F64)
        cuts = torch.cat((-ends, torch.special.ndtri(knots), ends))
    finer = [torch.linspace(float(a), float(b), split + 1, dtype=F64)[:-1] for a, b in pairwise(cuts)]
    cuts = torch.cat([*finer, cuts[-1:]])
    x, w = substitute(*pieces(cuts, order), support)
    return x.flatten(), w.flatten()


@each_flow
@each_support
@pytest.mark.parametrize("context", [0, 2])
def test_integrates_to_one_in_one_dimension(name, support, context):
    flow = trained(name, 1, support=support, context=context, scale=0.05)
    c = torch.randn(1, context, dtype=F64) if context else None
    x, w = nodes(flow, support, 0, 20, split=200)
    assert abs(float((flow(c).log_prob(x[:, None]).exp() * w).sum()) - 1) < 1e-6


@each_flow
@each_support
def test_integrates_to_one_in_two_dimensions(name, support):
    """The kinks of splines that move with the other feature limit the quadrature, not the density."""
    flow = trained(name, 2, support=support, scale=0.05, transforms=2, marginal=0.3)
    (x, wx), (y, wy) = (nodes(flow, support, i, 60) for i in (0, 1))
    total = 0.0
    for rows, w in zip(x.split(40), wx.split(40), strict=True):
        value = flow().log_prob(torch.cartesian_prod(rows, y)).exp().reshape(rows.shape[0], -1)
        total += float((value * wy * w[:, None]).sum())
    assert abs(total - 1) < (2e-6 if name in ("RealNVP", "NICE", "MAF", "IAF") else 1e-4)


@each_flow
@each_support
def test_draws_follow_the_density(name, support):
    """χ² on 12 × 12 cells, 200,000 draws, false-positive rate 10⁻⁷: sees masses that are off by some 3 %."""
    flow = trained(name, 2, support=support, transforms=2, marginal=0.3)
    draws, cells, order = 200_000, 12, 20
    x = flow().sample((draws,))
    t = {"real": lambda x: x, "unit": torch.special.ndtri, "logit": torch.logit}[support](x)
    far = t.abs().amax() + 2
    grid, index = [], []
    for i in (0, 1):
        inner = torch.quantile(t[:50_000, i], torch.linspace(0, 1, cells + 1, dtype=F64)[1:-1])
        index.append(torch.searchsorted(inner, t[:, i].contiguous()))
        points, w = pieces(torch.cat((-far[None], inner, far[None])), order)
        grid.append([a.flatten() for a in substitute(points, w, support)])
    (px, wx), (py, wy) = grid
    mass = (flow().log_prob(torch.cartesian_prod(px, py)).exp() * torch.outer(wx, wy).flatten()).reshape(
        cells, order, cells, order
    )
    expected = mass.sum((1, 3)).flatten() * draws
    assert abs(float(expected.sum()) / draws - 1) < 0.02
    counts = torch.bincount(index[0] * cells + index[1], minlength=cells * cells).double()
    keep = expected > 20
    assert keep.double().mean() > 0.5
    statistic = float(((counts - expected).square() / expected)[keep].sum())
    # the quadrature is good to 3·10⁻³ a cell in places: allow that non-centrality beside the noise of sampling
    slack = float((3e-3**2 * expected[keep]).sum())
    assert statistic < chi2.isf(1e-7, int(keep.sum())) + slack


@each_flow
@each_support
def test_gradcheck(name, support):
    flow = build(name, 3, context=1, hidden=(6,), support=support, transforms=2).double()
    x = data(2, 3, support).clamp(-3, 0.9 if support != "real" else 3).requires_grad_(True)
    c = torch.randn(2, 1, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, c: flow(c).log_prob(x), (x, c), atol=1e-7, rtol=1e-5)
    z = torch.randn(2, 3, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z, c: inverse(flow.transform(c), z), (z, c), atol=1e-7, rtol=1e-5)


@each_flow
@each_support
def test_gradients_reach_every_parameter(name, support):
    flow = build(name, 4, context=2, support=support)
    flow(torch.randn(64, 2)).log_prob(torch.rand(64, 4)).mean().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_a_linear_maf_is_the_gaussian_of_its_triangular_matrix():
    """x = L z + m gives z = (x_i − m_i − Σ_j …)/l_ii: the closed-form Gaussian is the oracle."""
    covariance = torch.tensor([[1.4, 0.8], [0.8, 1.2]], dtype=F64)
    flow = build("MAF", 2, transforms=1, hidden=()).double()
    step = flow.steps[1].net.net[0]
    lower = torch.linalg.cholesky(covariance).inverse()  # z = lower x
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.zero_()
        step.weight[2, 0] = lower[1, 0]  # shift of feature 1; rows are t_0, a_0, t_1, a_1
        step.bias[1], step.bias[3] = Affine.unclip(lower[0, 0].log()), Affine.unclip(lower[1, 1].log())
    x = torch.randn(50, 2, dtype=F64)
    oracle = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=F64), covariance).log_prob(x)
    torch.testing.assert_close(flow().log_prob(x), oracle, rtol=0, atol=1e-12)


def test_standardise_makes_the_start_a_fitted_diagonal_gaussian():
    x = torch.randn(5000, 3, dtype=F64) * torch.tensor([100.0, 0.01, 1.0]) + torch.tensor([500.0, 0.0, -3.0])
    flow = build("MAF", 3).double()
    with torch.no_grad():
        for parameter in flow.steps[1:].parameters():
            parameter.zero_()
    flow.initialise(x)
    oracle = torch.distributions.Normal(x.mean(0), x.std(0)).log_prob(x).sum(-1)
    torch.testing.assert_close(flow().log_prob(x), oracle, rtol=0, atol=1e-6)
    flow.initialise(torch.ones(10, 3, dtype=F64))  # constant features do not break it
    assert flow().log_prob(torch.ones(1, 3, dtype=F64)).isfinite().all()


def test_unit_flows_start_near_the_uniform_density():
    value = build("NSF coupling", 8, support="unit")().log_prob(torch.rand(500, 8))
    assert value.abs().mean() < 0.5


def test_a_batch_of_contexts_gives_a_batch_of_densities():
    flow = build("NSF coupling", 3, context=2)
    c = torch.randn(5, 2)
    p, x = flow(c), torch.randn(5, 3)
    assert p.batch_shape == (5,) and p.sample((7,)).shape == (7, 5, 3)
    each = torch.stack([flow(c[i]).log_prob(x[i]) for i in range(5)])
    torch.testing.assert_close(p.log_prob(x), each, rtol=1e-4, atol=1e-5)
    assert p.expand((4, 5)).log_prob(x).shape == (4, 5)


@pytest.mark.parametrize(("context", "given"), [(0, torch.zeros(3, 2)), (2, None), (2, torch.zeros(3, 1))])
def test_contexts_that_do_not_fit_are_refused(context, given):
    with pytest.raises(ContextError):
        build("RealNVP", 3, context=context)(given)


def test_log_prob_of_noise_is_the_base_density_where_the_flow_is_the_identity():
    flow = build("NSF coupling", 2)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.zero_()
    x = torch.tensor([[0.0, 0.0], [1.0, -7.0]])
    oracle = -0.5 * x.square().sum(-1) - math.log(2 * math.pi)
    torch.testing.assert_close(flow().log_prob(x), oracle)
