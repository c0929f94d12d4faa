"""Oracles: the optimal velocity of mixtures, their densities, floors in closed form, linear regressions."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from tests.diffusion_problems import mixture_log_prob
from tests.interpolant_problems import mixture_draws, mixture_flow
from unigen.densities.probability_flow import ProbabilityFlow
from unigen.dynamics.coupling import MinibatchOT
from unigen.dynamics.divergence import Hutchinson
from unigen.dynamics.interpolant import VP, Linear, Trigonometric
from unigen.dynamics.prediction import X0, Eps
from unigen.dynamics.schedule import LogLinearSNR
from unigen.errors import ArgumentError, NoDensityError, ShapeError
from unigen.inference.fit import fit
from unigen.inference.persist import load, save
from unigen.logprob import Kind
from unigen.models.flow_matching import FlowMatching
from unigen.models.mixture import GaussianMixture
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.nn.drift import DriftMLP
from unigen.samplers.interpolant_sde import InterpolantSDE
from unigen.samplers.probability_flow import ProbabilityFlowODE
from unigen.testing.check import check_program

F64 = torch.float64
FINE = ProbabilityFlow(rtol=1e-10, atol=1e-10)
CENTRES = torch.tensor([[-1.0, 0.5], [1.5, 0.0], [0.0, -1.0]])
STD = 0.4


def small(**options) -> FlowMatching:
    program = FlowMatching(2, hidden=16, blocks=1, **options)
    with torch.no_grad():
        for part in program.flow.network.modules():
            if isinstance(part, nn.Linear):
                part.weight.add_(0.1 * torch.randn_like(part.weight))
    return program


@pytest.mark.parametrize("path", [Linear(), Trigonometric()], ids=repr)
def test_the_optimal_velocity_has_the_density_of_the_mixture(path):
    program = mixture_flow(CENTRES, STD, path)
    x = torch.cat([mixture_draws(12, CENTRES, STD), 2 * torch.randn(4, 2, dtype=F64)])
    got = program.log_prob(x, density=FINE)
    assert got.kind is Kind.EXACT
    torch.testing.assert_close(got.value, mixture_log_prob(x, CENTRES, STD), rtol=0, atol=1e-6)


def test_a_schedule_leaves_what_it_leaves_at_its_ends():
    """VP(LogLinearSNR) has alpha(0)² = 1 − 1.2e-4, alpha(1)² = 9e-4: the density is that of slightly noisy data."""
    schedule, std = LogLinearSNR(), 0.7
    centre = torch.zeros(1, 2)
    program, x = mixture_flow(centre, std, VP(schedule)), torch.randn(6, 2, dtype=F64)
    ends = torch.tensor([0.0, 1.0], dtype=F64)
    variances = schedule.alpha(ends) ** 2 * std**2 + schedule.sigma(ends) ** 2
    scale = (variances[0] / variances[1]).sqrt() / schedule.alpha(ends[0])
    expected = dist.Normal(torch.zeros(2, dtype=F64), scale).to_event(1).log_prob(x)
    torch.testing.assert_close(program.log_prob(x, density=FINE).value, expected, rtol=0, atol=1e-6)


def test_the_score_by_conversion_is_that_of_the_marginal_and_by_the_ode_that_of_the_data():
    program = mixture_flow(CENTRES, STD, density=FINE)
    z, t = torch.randn(6, 2, dtype=F64, requires_grad=True), torch.tensor(0.35, dtype=F64)
    spread = math.sqrt(0.65**2 * STD**2 + 0.35**2)
    (expected,) = torch.autograd.grad(mixture_log_prob(z, 0.65 * CENTRES.double(), spread).sum(), z)
    torch.testing.assert_close(program.flow.score(t, z), expected, rtol=0, atol=1e-10)
    (expected,) = torch.autograd.grad(mixture_log_prob(z, CENTRES, STD).sum(), z)
    torch.testing.assert_close(program.score(z.detach()), expected, rtol=0, atol=1e-6)


def test_noise_and_data_are_carried_into_one_another():
    program = mixture_flow(CENTRES, STD, sampler=ProbabilityFlowODE(1e-8, 1e-8))
    x = mixture_draws(2000, CENTRES, STD)
    z = program.to_noise(x)
    torch.testing.assert_close(program.from_noise(z), x, rtol=0, atol=1e-4)
    assert float((z.mean(0).abs() * math.sqrt(2000)).max()) < 5
    assert float(((z.square().mean(0) - 1).abs() * math.sqrt(1000)).max()) < 5


def test_a_base_of_ones_own_is_where_the_density_ends():
    """The velocity 0 makes data of the base: log p(x) is the base's own, whatever kind of object it is."""

    class Still(nn.Module):
        def __init__(self):
            super().__init__()
            self.anchor = nn.Parameter(torch.zeros(1))

        def forward(self, z, t):
            return 0.0 * self.anchor * z

    x = torch.randn(5, 2)
    mixture = GaussianMixture(2, components=3)
    for base in (mixture, PPCA(2, latents=1), dist.Laplace(torch.zeros(2), 2.0).to_event(1)):
        program = FlowMatching(2, base=base, network=Still())
        law = base.distribution() if hasattr(base, "distribution") else base
        torch.testing.assert_close(program.log_prob(x).value, law.log_prob(x).detach())
        fit(program, 5 + torch.randn(64, 2), steps=2, progress=False)
        assert not bool(program.flow.loc.any())
        assert program.sample(3).shape == (3, 2)
    held = FlowMatching(2, base=mixture, network=Still())
    names = held.objective.players(held)[0].parameters
    assert names
    assert all(name.startswith("program.flow.network") for name in names)
    before = [p.clone() for p in mixture.parameters()]
    fit(FlowMatching(2, base=mixture, hidden=8, blocks=1), torch.randn(64, 2), steps=5, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(before, mixture.parameters(), strict=True))


def test_hutchinson_gives_an_estimate_with_an_error():
    program, x = mixture_flow(CENTRES, STD), mixture_draws(40, CENTRES, STD)
    got = program.log_prob(x, density=ProbabilityFlow(Hutchinson(64, gaussian=True, chunk=None), 1e-6, 1e-6))
    assert got.kind is Kind.ESTIMATE
    z = (got.value - mixture_log_prob(x, CENTRES, STD)) / got.stderr
    assert abs(float(z.mean())) < 5 * 1.02 / math.sqrt(40)


@pytest.mark.parametrize("prediction", [X0(), Eps()], ids=repr)
def test_any_prediction_and_path_runs(prediction):
    for path in (VP(), Trigonometric()):
        program = small(prediction=prediction, interpolant=path, sampler=InterpolantSDE(10))
        assert torch.isfinite(program.sample(3)).all()
        assert torch.isfinite(program.log_prob(torch.randn(3, 2)).value).all()


def test_every_law_of_a_program():
    check_program(FlowMatching(2, network=DriftMLP(2, (16,)), coupling=MinibatchOT()), torch.randn(20, 2))


def test_conditional_flow_and_its_round_trip(tmp_path):
    program = small(context=1, interpolant=VP(LogLinearSNR()), each=True, sampler=InterpolantSDE(5))
    x, c = torch.randn(64, 2), torch.randn(64, 1)
    fit(program, (x, c), steps=5, progress=False)
    twin = load(save(program, tmp_path / "flow.safetensors"))
    assert torch.equal(twin.log_prob(x, c).value, program.log_prob(x, c).value)
    assert torch.equal(twin.sample(4, c[:4], seed=1), program.sample(4, c[:4], seed=1))
    other = FlowMatching(2, hidden=8, blocks=1, coupling=MinibatchOT(0.1), base=PPCA(2, latents=1))
    assert load(save(other, tmp_path / "other.safetensors")).flow.coupling.reg == 0.1
    assert program.formula == "p(x | c) = p_FlowMatching(x | c)"


def test_it_is_the_prior_of_a_vae_trained_jointly():
    vae = VAE(features=5, latents=2, hidden=(8,), prior=small())
    vae.objective.players(vae)[0].loss(torch.randn(16, 5)).backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in vae.parameters())


def test_training_reaches_the_floor_and_the_density_of_the_mixture():
    """600 steps: within .1 nats of the entropy; an untrained flow is .5 away and more."""
    centres, std = torch.tensor([[-1.5, 0.0], [1.5, 0.0]]), 0.4
    x, held = mixture_draws(5000, centres, std).float(), mixture_draws(1000, centres, std).float()
    program = FlowMatching(2, hidden=48, blocks=2)
    fit(program, x, steps=600, lr=4e-3, ema=None, progress=False)
    gap = mixture_log_prob(held.double(), centres, std).mean() - program.log_prob(held).value.mean()
    assert -0.02 < float(gap) < 0.1


def test_bad_arguments_are_refused():
    for bad in (0, (2, 2)):
        with pytest.raises(ArgumentError, match="features"):
            FlowMatching(bad)
    with pytest.raises(ShapeError, match="same"):
        FlowMatching(2, base=PPCA(3, latents=1))
    with pytest.raises(ShapeError, match="same"):
        FlowMatching(2, base=dist.Normal(0.0, 1.0))
    with pytest.raises(NoDensityError, match="exact density"):
        FlowMatching(2, base=VAE(2, latents=1))
    with pytest.raises(ArgumentError, match="base"):
        FlowMatching(2, base=3)
    with pytest.raises(ArgumentError, match="conditional"):
        FlowMatching(2, base=FlowMatching(2, context=1, hidden=8, blocks=1))
    with pytest.raises(ArgumentError, match="contexts"):
        FlowMatching(2, context=1, coupling=MinibatchOT())
    with pytest.raises(ArgumentError, match="start"):
        FlowMatching(2, start=1.0)
    with pytest.raises(ArgumentError, match="start"):
        FlowMatching(2, start=0.0, prediction=X0())
