"""The named flows: laws, training on real digits against a full Gaussian, composition, compiled steps."""

from __future__ import annotations

import math

import pyro
import pytest
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO

import unigen as ug
from tests import problems
from tests.programs import traces_with_symbolic_batch
from unigen.data.digits import digits
from unigen.errors import ArgumentError, ContextError, SupportError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.models.flow import IAF, MAF, NICE, NSF, RealNVP
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.testing.check import check_program

FAMILIES = [NICE, RealNVP, NSF, MAF, IAF]
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)


@each_family
@pytest.mark.parametrize("support", ["real", "unit"])
def test_every_law_holds(family, support):
    program = family(2, hidden=(8,), transforms=2, support=support)
    report = check_program(program)
    assert report["normalised"].held
    if (
        support == "real"
    ):  # Stein's identity has a boundary term on the unit square; test_flows.py has a χ² test
        assert report["density and draws"].held


@each_family
def test_conditional_laws(family):
    assert check_program(family(2, hidden=(8,), transforms=2, context=3))["kind"].held


@each_family
def test_kind_shapes_and_noise(family):
    flow = family(4, hidden=(8,))
    assert flow.kind is Kind.EXACT and flow.formula == "p(x)"
    for n in (1, 2, 5):
        x = flow.sample(n)
        assert x.shape == (n, 4) and flow.log_prob(x).value.shape == (n,)
        assert flow.score(x).shape == (n, 4)
        assert (flow.from_noise(flow.to_noise(x)) - x).abs().max() < 1e-5
    with pytest.raises(UnsupportedQueryError):
        flow.encode(x)


@each_family
def test_one_step_is_one_graph_for_every_batch_size(family):
    program = family(3, hidden=(8,), transforms=1)
    assert traces_with_symbolic_batch(program, MaximumLikelihood(), torch.randn(6, 3))


def test_fit_reaches_the_entropy_of_a_correlated_gaussian():
    """A MAF contains the Gaussian: its loss on fresh data falls to the entropy, 2.857487, and not below."""
    covariance = torch.tensor([[1.4, 0.8], [0.8, 1.2]])
    lower = torch.linalg.cholesky(covariance)
    x = 100 + 30 * torch.randn(4000, 2) @ lower.T  # far from unit scale: initialise standardises
    flow = MAF(2, transforms=1, hidden=())
    ug.fit(flow, x, steps=300, lr=0.03, seed=0, progress=False)
    value = flow.log_prob(x).value.double()
    truth = problems.gaussian_log_density(
        x.numpy(), x.double().mean(0).numpy(), torch.cov(x.double().T).numpy()
    )
    # the scales may depend on x too, so the maximum lies a little above the Gaussian's
    assert float(truth.mean()) - 0.003 < float(value.mean()) < float(truth.mean()) + 2e-3


@each_family
def test_fit_beats_a_gaussian_where_the_data_are_not_gaussian(family):
    angle = 2 * math.pi * torch.rand(3000)
    ring = torch.stack((angle.cos(), angle.sin()), 1) * 2 + 0.1 * torch.randn(3000, 2)
    flow = family(2, hidden=(32, 32), transforms=4)
    ug.fit(flow, ring[:2500], steps=250, lr=5e-3, seed=0, progress=False)
    gaussian = problems.gaussian_log_density(ring[2500:].numpy(), [0, 0], torch.cov(ring[:2500].T).numpy())
    margin = flow.log_prob(ring[2500:]).value.mean() - gaussian.mean()
    assert margin > {"NICE": 0.05, "RealNVP": 0.5, "NSF": 0.9, "MAF": 0.2, "IAF": 0.2}[family.__name__]


@pytest.mark.slow
def test_nsf_on_digits_beats_the_full_gaussian_by_twenty_nats():
    """250 held-out images, dequantised; a full-covariance Gaussian has 48.7 nats, the recipe reaches about 94."""
    data = digits()
    flow = NSF(64, support="unit")
    ug.fit(flow, data, steps=120, seed=0, progress=False)
    full = problems.gaussian_log_density(
        data.test.numpy(), data.train.double().mean(0).numpy(), torch.cov(data.train.double().T).numpy()
    )
    assert flow.log_prob(data.test).value.mean() > full.mean() + 25
    x = flow.sample(500, seed=1)
    assert x.min() >= 0 and x.max() <= 1
    assert (x.mean(0) - data.train.mean(0)).abs().max() < 0.12


def test_class_conditional_densities_are_those_of_their_class():
    """Two Gaussians told apart by the context, in closed form."""
    n = 4000
    label = torch.randint(2, (n, 1)).float()
    x = torch.randn(n, 1) * (0.5 + label) + 4 * label
    flow = NSF(1, context=1, hidden=(16,), transforms=2)
    ug.fit(flow, (x, label), steps=300, lr=1e-2, seed=0, progress=False)
    for c, (mean, sd) in enumerate(((0.0, 0.5), (4.0, 1.5))):
        draws = flow.sample(20_000, torch.full((20_000, 1), float(c)), seed=0)
        low, middle, high = draws.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
        assert abs(middle - mean) < 0.15 and abs((high - low) / (1.349 * sd) - 1) < 0.15
        grid = torch.linspace(mean - 2 * sd, mean + 2 * sd, 50)[:, None]
        value = flow.log_prob(grid, torch.full((50, 1), float(c))).value
        assert (value - torch.distributions.Normal(mean, sd).log_prob(grid)[:, 0]).abs().mean() < 0.15


def test_a_flow_is_a_prior():
    vae = ug.VAE(6, 3, prior=NSF(3, hidden=(8,), transforms=2), hidden=(16,))
    assert vae.formula == "p(x, z) = p(x | z) p_NSF(z);  q(z | x)"
    assert vae.kind is Kind.LOWER_BOUND
    before = [p.clone() for p in vae.prior.parameters()]
    ug.fit(vae, torch.randn(300, 6), steps=5, seed=0, progress=False)
    assert all(not torch.equal(a, b) for a, b in zip(before, vae.prior.parameters(), strict=True))
    assert vae.log_prob(torch.randn(4, 6)).value.isfinite().all()


def test_pyros_own_inference_and_predictive():
    flow, x = RealNVP(2, hidden=(8,), transforms=2), torch.randn(64, 2)
    svi = SVI(flow.model, flow.guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
    first = svi.step(x)
    for _ in range(30):
        last = svi.step(x)
    assert last < first and first == pytest.approx(float(first))
    assert Predictive(flow.model, num_samples=5)(n=3)["x"].shape == (5, 3, 2)


@each_family
@pytest.mark.parametrize("support", ["real", "unit"])
def test_saved_and_loaded_it_is_the_same(family, support, tmp_path):
    flow, x = family(3, hidden=(8,), support=support), torch.rand(20, 3)
    flow.initialise(x)
    ug.save(flow, tmp_path / "flow")
    assert torch.equal(ug.load(tmp_path / "flow").log_prob(x).value, flow.log_prob(x).value)


def test_bad_input_is_refused():
    with pytest.raises(SupportError):
        NSF(2, support="unit").log_prob(torch.tensor([[0.5, 1.5]]))
    with pytest.raises(ContextError):
        MAF(2, context=2).sample(3)
    for bad in ({"support": "half"}, {"transforms": 0}):
        with pytest.raises(ArgumentError):
            RealNVP(2, **bad)
    with pytest.raises(ArgumentError):
        NSF(0)


def test_nice_preserves_volume_but_for_its_diagonal():
    flow = RealNVP(3, additive=True, hidden=(8,))
    x = torch.randn(5, 3)
    base = -0.5 * flow.to_noise(x).square().sum(-1) - 1.5 * math.log(2 * math.pi)
    diagonal = flow.log_prob(x).value - base
    assert (diagonal - diagonal[0]).abs().max() < 1e-5
