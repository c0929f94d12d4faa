"""Glow: brute-force Jacobians, round trips, laws, actnorm from data, training, saving."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from tests.programs import traces_with_symbolic_batch
from unigen.distributions.bijection import inverse, value_and_log_det
from unigen.errors import ArgumentError, ContextError, SupportError
from unigen.logprob import Kind
from unigen.models.glow import Glow
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.testing.check import check_program

F64 = torch.float64
each_shape = pytest.mark.parametrize(("shape", "levels"), [((1, 4, 4), 2), ((3, 4, 4), 1), ((2, 8, 4), 2)])
each_context = pytest.mark.parametrize("context", [0, 3])


def moved(shape, *, context=0, levels=2, support="unit", univariate=None):
    """A Glow away from its start."""
    options = {} if univariate is None else {"univariate": univariate}
    glow = Glow(shape, context=context, levels=levels, steps=2, hidden=(8, 8), support=support, **options)
    with torch.no_grad():
        for parameter in glow.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return glow.double().requires_grad_(False)


@each_shape
@each_context
@pytest.mark.parametrize("support", ["unit", "real", ug.Logit(0.05)], ids=str)
def test_log_det_equals_the_brute_force_jacobian(shape, levels, context, support):
    glow = moved(shape, context=context, levels=levels, support=support)
    x = torch.rand(3, *shape, dtype=F64)
    c = torch.randn(3, context, dtype=F64) if context else None
    _, ladj = value_and_log_det(glow.flow.transform(c), x)
    assert ladj.shape == (3,)
    for i in range(3):
        f = glow.flow.transform(None if c is None else c[i])
        j = torch.autograd.functional.jacobian(lambda v, f=f: f(v).flatten(), x[i]).flatten(1)
        assert abs(float(torch.linalg.slogdet(j)[1] - ladj[i])) < 1e-10


@each_shape
@each_context
@pytest.mark.parametrize("univariate", [ug.Affine(), ug.Spline(4), ug.Additive()], ids=repr)
def test_round_trip(shape, levels, context, univariate):
    glow = moved(shape, context=context, levels=levels, univariate=univariate)
    x = torch.rand(50, *shape, dtype=F64)
    c = torch.randn(50, context, dtype=F64) if context else None
    assert glow.round_trip(x, c) < 1e-12
    f = glow.flow.transform(c)
    z = 3 * torch.randn(50, *f(x).shape[1:], dtype=F64)
    x = inverse(f, z)
    assert x.shape[1:] == shape and x.min() >= 0 and x.max() <= 1


@each_context
def test_every_law_holds(context):
    report = check_program(Glow((1, 4, 4), context=context, steps=1, hidden=(8,)))
    assert report["kind"].held


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16)])
def test_shapes_and_kind(shape):
    glow = Glow(shape, hidden=(8,), steps=1)
    assert glow.kind is Kind.EXACT and glow.event_shape == shape
    x = glow.sample(2)
    assert x.shape == (2, *shape) and glow.log_prob(x).value.shape == (2,)
    assert glow.score(x).shape == x.shape


def test_initialise_normalises_every_activation():
    glow = Glow((2, 8, 8), steps=3, hidden=(8,)).double()
    x = torch.rand(500, 2, 8, 8, dtype=F64) ** 3
    glow.initialise(x)
    y = x
    for step in glow.flow.steps:
        y = step()(y)
        if type(step).__name__ == "ActNormStep":
            channels = y.transpose(0, 1).flatten(1)
            assert channels.mean(1).abs().max() < 1e-10 and (channels.std(1) - 1).abs().max() < 1e-10


def test_a_constant_channel_does_not_break_the_start():
    glow = Glow((1, 4, 4), steps=1, hidden=(8,), support="real")
    x = torch.randn(100, 1, 4, 4)
    x[:, :, ::2, ::2] = 0.5
    glow.initialise(x)
    assert glow.log_prob(x).value.isfinite().all()


def test_gradients_reach_every_parameter_and_the_step_is_one_graph():
    glow = Glow((1, 4, 4), context=2, steps=1, hidden=(8,))
    glow.marginal(torch.randn(64, 2)).log_prob(torch.rand(64, 1, 4, 4)).mean().backward()
    for name, parameter in glow.named_parameters():
        outside = "lower" in name or "upper" in name
        assert parameter.grad is not None and (outside or parameter.grad.abs().max() > 0), name
    glow = Glow((1, 4, 4), steps=1, hidden=(8,))
    assert traces_with_symbolic_batch(glow, MaximumLikelihood(), torch.rand(6, 1, 4, 4))


def test_training_approaches_the_information_of_a_gaussian_copula(tmp_path):
    """Rows of equally correlated pixels with uniform marginals: E log p is the mutual information of the pixels."""
    n, rho = 3000, 0.8
    u = rho**0.5 * torch.randn(n, 1, 4, 1) + (1 - rho) ** 0.5 * torch.randn(n, 1, 4, 4)
    x = torch.special.ndtr(u)
    glow = Glow((1, 4, 4), steps=2, hidden=(16, 16))
    ug.fit(glow, x[:2500], steps=150, lr=5e-3, seed=0, progress=False)
    r = (1 - rho) * torch.eye(4, dtype=F64) + rho
    truth = torch.distributions.MultivariateNormal(torch.zeros(4, dtype=F64), r)
    fresh = u[2500:, 0].double()
    exact = (truth.log_prob(fresh) - torch.distributions.Normal(0.0, 1.0).log_prob(fresh).sum(-1)).sum(-1)
    assert float(exact.mean()) - 1.5 < float(glow.log_prob(x[2500:]).value.mean()) < float(exact.mean()) + 0.1
    ug.save(glow, tmp_path / "glow")
    assert torch.equal(ug.load(tmp_path / "glow").log_prob(x).value, glow.log_prob(x).value)


def test_bad_input_is_refused():
    for bad in ({"shape": (1, 6, 6), "levels": 2}, {"shape": (8, 8)}, {"shape": (1, 4, 4), "levels": 0}):
        with pytest.raises(ArgumentError, match="Glow"):
            Glow(**bad)
    with pytest.raises(ArgumentError, match="Glow"):
        Glow((1, 4, 4), hidden=(0,))
    with pytest.raises(SupportError):
        Glow((1, 4, 4)).log_prob(torch.full((1, 1, 4, 4), 1.5))
    with pytest.raises(ContextError):
        Glow((1, 4, 4), context=2).sample(3)
