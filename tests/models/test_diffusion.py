"""Oracles: the optimal network of Gaussian data, the laws every family obeys, a density learned in a minute."""

from __future__ import annotations

import copy
import math

import pyro
import pytest
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO

from tests.diffusion_problems import gaussian_diffusion, mixture_log_prob
from unigen.densities.diffusion_bound import DiffusionBound
from unigen.dynamics.prediction import X0, Eps
from unigen.dynamics.schedule import LogLinearSNR, VPCosine, VPLinear
from unigen.errors import ArgumentError, ContextError, ShapeError, UnsupportedQueryError
from unigen.inference.fit import fit
from unigen.logprob import Kind
from unigen.models.diffusion import Diffusion
from unigen.models.vae import VAE
from unigen.samplers.reverse_sde import ReverseSDE


def small(dims: int = 3, **options) -> Diffusion:
    program = Diffusion(dims, hidden=16, blocks=1, **options)
    with torch.no_grad():
        program.denoiser.network.output.weight.normal_(0, 0.3)
    return program


def test_it_says_what_it_is():
    program = Diffusion(3, hidden=16, blocks=1)
    assert program.formula == "p(x) = p_Diffusion(x)"
    assert program.event_shape == (3,)
    assert program.kind is Kind.EXACT
    assert not program.structure.observed.discrete
    assert Diffusion(3, hidden=8, blocks=1, context=2).formula == "p(x | c) = p_Diffusion(x | c)"


@pytest.mark.parametrize("n", [1, 5])
def test_shapes_of_every_query(n):
    program, x = small(), torch.randn(n, 3)
    assert program.sample(n).shape == (n, 3)
    assert program.log_prob(x).value.shape == (n,)
    assert program.score(x).shape == (n, 3)
    assert program.energy(x).shape == (n,)
    assert program.surrogate(x).shape == (n,)
    assert program.distribution().sample((n, 2)).shape == (n, 2, 3)


@pytest.mark.parametrize("schedule", [VPLinear(), VPCosine(), LogLinearSNR()], ids=repr)
@pytest.mark.parametrize("prediction", [X0(), Eps()], ids=repr)
def test_any_schedule_and_prediction_run(schedule, prediction):
    program = Diffusion(
        2, schedule=schedule, prediction=prediction, hidden=8, blocks=1, sampler=ReverseSDE(20)
    )
    assert torch.isfinite(program.sample(4)).all()
    assert torch.isfinite(program.surrogate(torch.randn(4, 2))).all()


def test_the_surrogate_is_unbiased_for_the_bound():
    program = small().double()
    x = torch.randn(1, 3, dtype=torch.float64)
    with torch.no_grad():
        draws = torch.cat([program.surrogate(x.expand(512, 3)).mean(0, keepdim=True) for _ in range(200)])
    bound = program.log_prob(x, density=DiffusionBound(256, 40))
    stderr = math.sqrt(float(draws.var()) / 200 + float(bound.stderr**2))
    assert abs(float(draws.mean() - bound.value)) < 6 * stderr


def test_the_surrogate_passes_gradients_to_the_data_and_every_parameter():
    program, x = small(context=2), torch.randn(8, 3, requires_grad=True)
    program.surrogate(x, torch.randn(8, 2)).sum().backward()
    assert float(x.grad.abs().min()) > 0
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in program.parameters())


def test_it_runs_under_pyro():
    program, x = small(), torch.randn(4, 3)
    trace = pyro.poutine.trace(program.model).get_trace(x)
    torch.testing.assert_close(
        trace.nodes["x"]["fn"].log_prob(x), program.log_prob(x).value, rtol=1e-3, atol=1e-3
    )
    assert Predictive(program.model, num_samples=2)(None, None, 5)["x"].shape == (2, 5, 3)


def test_pyros_svi_trains_it_through_its_density():
    program, x = gaussian_diffusion(LogLinearSNR(), dims=2), torch.randn(4, 2, dtype=torch.float64)
    svi = SVI(program.model, lambda x: None, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())
    expected = -float(program.log_prob(x).value.sum())
    assert svi.step(x) == pytest.approx(expected, rel=1e-6)


def test_it_is_the_prior_of_a_vae_trained_jointly():
    vae = VAE(features=5, latents=3, hidden=(8,), prior=small())
    assert "p_Diffusion(z)" in vae.formula
    loss = vae.objective.players(vae)[0].loss
    loss(torch.randn(16, 5)).backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name
    assert vae.sample(3).shape == (3, 5)


def test_gradient_through_the_prior_is_that_of_the_expected_bound():
    """E surrogate(z) of the optimal Gaussian network is quadratic in z: its gradient is known."""
    schedule = LogLinearSNR(50.0, 0.05)
    program, z = gaussian_diffusion(schedule, std=1.3), torch.full((400_000, 1), 0.8, dtype=torch.float64)
    z.requires_grad_(True)
    program.surrogate(z).sum().backward()
    t = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    alpha2, sigma2 = schedule.alpha(t) ** 2, schedule.sigma(t) ** 2
    rate = 0.5 * schedule.diffusion_squared(t) / sigma2 * alpha2 * sigma2 / (alpha2 * 1.69 + sigma2) ** 2
    expected = -0.8 * (2 * rate.mean() + schedule.alpha(1.0).double() ** 2)
    assert abs(float(z.grad.mean() - expected)) < 5 * float(z.grad.std()) / math.sqrt(400_000)


def test_a_copy_is_independent_and_a_seed_reproduces():
    program = small()
    twin = copy.deepcopy(program)
    x = torch.randn(2, 3)
    assert torch.equal(program.log_prob(x).value, twin.log_prob(x).value)
    with torch.no_grad():
        twin.denoiser.network.output.bias.add_(1.0)
    assert not torch.equal(program.log_prob(x).value, twin.log_prob(x).value)
    assert torch.equal(program.sample(4, seed=3), program.sample(4, seed=3))


def test_a_state_dict_carries_the_units():
    program, other = small(), small()
    program.initialise(torch.randn(50, 3) * 4 + 2)
    other.load_state_dict(program.state_dict())
    x = torch.randn(2, 3)
    assert torch.equal(program.log_prob(x).value, other.log_prob(x).value)


def test_bad_arguments_are_refused():
    for bad in (0, (2, 2)):
        with pytest.raises(ArgumentError, match="features"):
            Diffusion(bad)
    with pytest.raises(ArgumentError, match="start"):
        Diffusion(2, schedule=VPLinear(), start=0.0)
    program = small()
    with pytest.raises(ShapeError):
        program.log_prob(torch.randn(2, 4))
    with pytest.raises(ContextError):
        program.sample(2, torch.randn(2, 1))
    with pytest.raises(UnsupportedQueryError, match="no latent"):
        program.encode(torch.randn(2, 3))


@pytest.mark.slow
def test_it_learns_a_mixture():
    """Within .1 nats of the truth on held-out data after 600 steps; the Gaussian fit is 0.6 nats away."""
    centres, std = torch.tensor([[-2.0, 0.0], [2.0, 1.0]]), 0.4
    x = centres[torch.randint(2, (6000,))] + std * torch.randn(6000, 2)
    program = Diffusion(2, hidden=64, blocks=2, each=True)
    fit(program, x[:5000], steps=600, validation=x[5000:5200], progress=False)
    truth = mixture_log_prob(x[5200:].double(), centres, std)
    gap = truth.mean() - program.log_prob(x[5200:]).value.double().mean()
    assert -0.02 < float(gap) < 0.12
    draws = program.sample(4000)
    cross = mixture_log_prob(draws.double(), centres, std).mean()
    assert abs(float(cross - truth.mean())) < 0.3
    assert abs(float((draws[:, 0] > 0).double().mean()) - 0.5) < 0.06
