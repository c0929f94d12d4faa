"""Oracles: Pyro's Trace_ELBO on the unrolled program, the bound of the optimal network for Gaussian data."""

from __future__ import annotations

import math

import pytest
import torch
from pyro.infer import Trace_ELBO

from tests.diffusion_problems import gaussian_ddpm
from unigen.densities.importance import Importance
from unigen.dynamics.prediction import Eps
from unigen.dynamics.schedule import LogLinearSNR, VPCosine, VPLinear
from unigen.errors import ArgumentError
from unigen.logprob import Kind
from unigen.models.ddpm import DDPM
from unigen.models.vae import VAE
from unigen.objectives.elbo import ELBO, elbo
from unigen.objectives.iwae import IWAE


def small(steps: int = 6, dims: int = 2, **options) -> DDPM:
    program = DDPM(dims, steps, hidden=16, blocks=1, schedule=LogLinearSNR(50.0, 0.02), **options).double()
    with torch.no_grad():
        program.denoiser.network.output.weight.normal_(0, 0.3)
    return program


@pytest.mark.parametrize("steps", [2, 6, 17])
@pytest.mark.parametrize(
    "schedule", [LogLinearSNR(50.0, 0.02), VPCosine(50.0, 0.02), VPLinear(0.5, 5.0)], ids=repr
)
def test_one_random_step_has_the_expectation_of_the_unrolled_elbo(steps, schedule):
    program = DDPM(2, steps, hidden=16, blocks=1, schedule=schedule, start=0.05).double()
    with torch.no_grad():
        program.denoiser.network.output.weight.normal_(0, 0.3)
    x, n = torch.tensor([[0.7, -1.1]], dtype=torch.float64), 20_000
    with torch.no_grad():
        subsampled = torch.stack([program.surrogate(x.expand(n // 20, 2)).mean() for _ in range(20)])
        unrolled = elbo(program, x.expand(n, 2))
    stderr = math.sqrt(float(subsampled.var()) / 20 + float(unrolled.var()) / n)
    assert abs(float(subsampled.mean() - unrolled.mean())) < 6 * stderr


def test_the_unrolled_elbo_is_pyros():
    program, x = small(), torch.randn(3, 2, dtype=torch.float64)
    theirs = torch.tensor([-Trace_ELBO().loss(program.model, program.guide, x) for _ in range(400)])
    with torch.no_grad():
        ours = torch.stack([program.surrogate(x.repeat(200, 1)).mean() * 3 for _ in range(50)])
    stderr = math.sqrt(float(theirs.var()) / 400 + float(ours.var()) / 50)
    assert abs(float(theirs.mean() - ours.mean())) < 6 * stderr


@pytest.mark.parametrize(("moves", "expected"), [(5, 24.956), (10, 9.3197), (50, 4.7983), (100, 4.4562)])
def test_theorem_13_diffusion_term_of_t_steps(moves, expected):
    """N(0, 4), SNR 1e3 → 1e-4 log-linear: the term falls to 4.146950 as the steps grow."""
    program, n = gaussian_ddpm(LogLinearSNR(1e3, 1e-4), moves + 1, std=2.0), 200_000
    x = 2 * torch.randn(n, 1, dtype=torch.float64)
    t = (torch.rand(1, dtype=torch.float64) + torch.arange(n) / n) % 1
    with torch.no_grad():
        bound = program.bound(x, t, torch.randn_like(x))
    denoiser = program.denoiser
    terms = -bound - denoiser.prior_term(x) - denoiser.reconstruction_term(x)
    assert abs(float(terms.mean()) - expected) < 5 * float(terms.std()) / math.sqrt(n) + 1e-4 * expected


def test_ancestral_draws_of_the_optimal_network_have_the_moments_of_a_linear_chain():
    """Every step is linear and Gaussian: mean and variance follow an exact recursion."""
    schedule, mean, std, n = LogLinearSNR(100.0, 1e-3), 1.2, 0.7, 100_000
    program = gaussian_ddpm(schedule, 12, mean, std)
    m, v = torch.zeros(1).double(), torch.ones(1).double()
    times = torch.linspace(0, 1, 12, dtype=torch.float64)
    for i in range(11, 0, -1):
        s, t = times[i - 1], times[i]
        at, st2 = schedule.alpha(t), schedule.sigma(t) ** 2
        as_, ss2 = schedule.alpha(s), schedule.sigma(s) ** 2
        gain = at * std**2 / (at**2 * std**2 + st2)  # u_hat = mean + gain (z − alpha mean)
        ratio, kept = at / as_, (at**2 / st2) / (as_**2 / ss2)
        slope = kept / ratio + as_ * (1 - kept) * gain
        shift = as_ * (1 - kept) * (mean - gain * at * mean)
        m, v = slope * m + shift, slope**2 * v + ss2 * (1 - kept)
    alpha, sigma = schedule.alpha(times[0]), schedule.sigma(times[0])
    m, v = m / alpha, (v + sigma**2) / alpha**2
    x = program.sample(n)
    assert abs(float((x.mean() - m) / (v / n).sqrt())) < 5
    assert abs(float(x.var() / v) - 1) < 5 * math.sqrt(2 / n)


def test_the_bound_lies_below_the_truth_and_importance_sampling_closes_in():
    std = 1.3
    program, x = gaussian_ddpm(LogLinearSNR(100.0, 1e-3), 8, std=std), 1.3 * torch.randn(300, 1).double()
    truth = torch.distributions.Normal(0.0, std).log_prob(x).mean()
    bound, tighter = program.log_prob(x), program.log_prob(x, density=Importance(64))
    assert bound.kind is tighter.kind is Kind.LOWER_BOUND
    noise = bound.mean().monte_carlo
    assert bound.mean().value < tighter.mean().value + 5 * noise
    assert (
        tighter.mean().value < float(truth) + 0.02
    )  # the mean of 300 log-likelihoods of almost this density


def test_the_guide_has_the_marginals_of_the_forward_process():
    import pyro

    schedule, n = LogLinearSNR(50.0, 0.02), 50_000
    program, x = small(), torch.tensor([[0.7, -1.1]], dtype=torch.float64).expand(50_000, 2)
    trace = pyro.poutine.trace(program.guide).get_trace(x)
    for i, t in enumerate(program.times, 1):
        z = trace.nodes[f"z_{i}"]["value"]
        error = (z.mean(0) - schedule.alpha(t) * x[0]) / (schedule.sigma(t) / math.sqrt(n))
        assert float(error.abs().max()) < 5.5
        assert float((z.var(0) / schedule.sigma(t) ** 2 - 1).abs().max()) < 5.5 * math.sqrt(2 / n)


def test_it_is_a_program_like_any_other():
    program, x = small(context=2), torch.randn(5, 2, dtype=torch.float64)
    c = torch.randn(5, 2, dtype=torch.float64)
    program.check()
    assert "p(z_6 | c)" in program.formula or "p(z_6)" in program.formula
    assert [site.name for site in program.structure.latents] == [f"z_{i}" for i in range(6, 0, -1)]
    assert program.sample(5, c).shape == (5, 2)
    assert program.log_prob(x, c).value.shape == (5,)
    for objective in (ELBO(samples=3), IWAE(samples=3), program.objective):
        loss = objective.players(program)[0].loss
        program.zero_grad()
        loss(x, c).backward()
        assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in program.parameters())


def test_standardisation_is_part_of_the_model():
    program = gaussian_ddpm(LogLinearSNR(1e5, 1e-5), 500)  # its gap is .13 nats
    x = 5 + 3 * torch.randn(2000, 1, dtype=torch.float64)
    program.initialise(x)
    truth = torch.distributions.Normal(program.denoiser.loc, program.denoiser.scale).log_prob(x).mean()
    bound = program.log_prob(x).mean()
    assert abs(bound.value - float(truth)) < 0.2 + 5 * bound.monte_carlo
    assert abs(float(program.sample(400).mean()) - 5) < 5 * 3 / math.sqrt(400) + 0.2


def test_it_is_the_prior_of_a_vae():
    prior = DDPM(3, 5, hidden=8, blocks=1)
    with torch.no_grad():
        prior.denoiser.network.output.weight.normal_(0, 0.3)
    vae = VAE(features=5, latents=3, hidden=(8,), prior=prior)
    vae.objective.players(vae)[0].loss(torch.randn(16, 5)).backward()
    assert all(p.grad is not None for p in vae.parameters())


def test_bad_arguments_are_refused():
    for bad in ({"steps": 1}, {"features": 0}, {"features": (2, 2)}):
        with pytest.raises(ArgumentError, match="steps >= 2"):
            DDPM(**({"features": 2} | bad))
    with pytest.raises(ArgumentError, match="start"):
        DDPM(2, schedule=VPLinear(), start=0.0)
    assert isinstance(DDPM(2, prediction=Eps()).denoiser.prediction, Eps)
