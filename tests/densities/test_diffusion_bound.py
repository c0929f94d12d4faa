from __future__ import annotations

import math

import pytest
import torch

from tests.diffusion_problems import gaussian_ddpm, gaussian_diffusion
from unigen.densities.diffusion_bound import DiffusionBound
from unigen.densities.probability_flow import ProbabilityFlow
from unigen.dynamics.schedule import LogLinearSNR
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.models.diffusion import Diffusion
from unigen.models.ppca import PPCA


def bound_of_gaussian(x, schedule, std):
    """E over eps of the bound for given x: the optimal network's error is a quadratic in x, integrated over t."""
    t = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    alpha2, sigma2 = schedule.alpha(t) ** 2, schedule.sigma(t) ** 2
    total = alpha2 * std**2 + sigma2
    # eps − eps_hat = (alpha² std² eps − alpha sigma x) / total
    error = (alpha2 * std**2 / total) ** 2 + alpha2 * sigma2 * x**2 / total**2
    diffusion = (0.5 * schedule.diffusion_squared(t) / sigma2 * error).mean(1, keepdim=True)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    alpha, sigma = schedule.alpha(ends), schedule.sigma(ends)
    prior = 0.5 * ((alpha[1] * x) ** 2 + sigma[1] ** 2 - 1 - 2 * torch.log(sigma[1]))
    entropy = 0.5 * torch.log(2 * math.pi * math.e * (sigma[0] / alpha[0]) ** 2)
    return -(diffusion + prior + entropy).squeeze(1)


def test_the_bound_of_each_example_is_its_integral():
    schedule, std = LogLinearSNR(100.0, 1e-2), 1.5
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    bound = gaussian_diffusion(schedule, std=std).log_prob(x, density=DiffusionBound(512, 40))
    assert bound.kind is Kind.LOWER_BOUND
    z = (bound.value - bound_of_gaussian(x, schedule, std)) / bound.stderr
    assert float(z.abs().max()) < 6  # seven t-values of 39 degrees of freedom
    assert float(z.square().mean()) > 0.05


def test_the_bound_lies_below_the_density_but_not_far():
    std = 1.5
    program = gaussian_diffusion(LogLinearSNR(1e4, 1e-4), std=std)
    x = std * torch.randn(200, 1, dtype=torch.float64)
    gap = program.log_prob(x, density=ProbabilityFlow()) - program.log_prob(x, density=DiffusionBound(64, 8))
    mean = gap.mean()
    assert mean.kind is Kind.UPPER_BOUND
    assert -5 * mean.monte_carlo < mean.value < 0.01 + 5 * mean.monte_carlo


def test_standardisation_is_accounted_for():
    program = gaussian_diffusion(LogLinearSNR(1e5, 1e-5), dims=2, each=True)
    x = torch.randn(500, 2, dtype=torch.float64) * torch.tensor([0.1, 20.0]) + 3
    program.initialise(x)
    truth = torch.distributions.Normal(program.denoiser.loc, program.denoiser.scale).log_prob(x).sum(1).mean()
    bound = program.log_prob(x, density=DiffusionBound(64, 8)).mean()
    assert abs(bound.value - float(truth)) < 0.01 + 5 * bound.monte_carlo


def test_dimensions_are_summed_and_context_passed():
    program = Diffusion(5, hidden=8, blocks=1, context=2)
    log_prob = program.log_prob(torch.randn(3, 5), torch.randn(3, 2), density=DiffusionBound(4, 2))
    assert log_prob.value.shape == (3,)
    assert log_prob.dims == 5


def test_a_ddpm_is_scored_too():
    x = torch.randn(50, 1, dtype=torch.float64)
    assert gaussian_ddpm(LogLinearSNR(), steps=20).log_prob(x).kind is Kind.LOWER_BOUND


def test_misuse_is_refused():
    with pytest.raises(ArgumentError, match="replicates"):
        DiffusionBound(replicates=1)
    with pytest.raises(UnsupportedQueryError, match="DDPM"):
        PPCA(3, 1).log_prob(torch.randn(2, 3), density=DiffusionBound())
