"""Oracles: Gaussian and mixture densities, quadrature, the exact divergence."""

from __future__ import annotations

import math

import pytest
import torch

from tests.diffusion_problems import gaussian_diffusion, mixture_diffusion, mixture_log_prob
from unigen.densities.probability_flow import ProbabilityFlow
from unigen.dynamics.divergence import ExactDivergence, Hutchinson
from unigen.dynamics.schedule import LogLinearSNR, VPCosine, VPLinear
from unigen.errors import ArgumentError
from unigen.logprob import Kind
from unigen.models.diffusion import Diffusion
from unigen.models.ppca import PPCA

FINE = ProbabilityFlow(rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("schedule", [VPLinear(), VPCosine(), LogLinearSNR()], ids=repr)
def test_gaussian_data_give_the_pushforward_of_the_prior_exactly(schedule):
    """The flow is linear, so the model is N(m', (std_start / (std_1 alpha_start))²) with m' in closed form."""
    mean, std, dims = 0.7, 2.0, 3
    program = gaussian_diffusion(schedule, mean, std, dims)
    x = 2 * torch.randn(6, dims, dtype=torch.float64)
    ends = torch.tensor([program.denoiser.start, 1.0], dtype=torch.float64)
    alpha, sigma = schedule.alpha(ends), schedule.sigma(ends)
    spread = torch.sqrt(alpha**2 * std**2 + sigma**2)
    scale = spread[0] / spread[1] / alpha[0]
    model = torch.distributions.Normal(mean - alpha[1] * mean * scale, scale)
    log_prob = program.log_prob(x, density=FINE)
    assert log_prob.kind is Kind.EXACT
    assert log_prob.stderr is None
    torch.testing.assert_close(log_prob.value, model.log_prob(x).sum(1), rtol=0, atol=1e-6)
    loose = program.log_prob(x, density=ProbabilityFlow(rtol=1e-5, atol=1e-5)).value
    assert float((loose - model.log_prob(x).sum(1)).abs().max()) / dims / math.log(2) < 1e-4


@pytest.mark.parametrize("std", [0.5, 1.0])
def test_truth_is_reached_within_1e_4_bits_a_dimension(std):
    program = gaussian_diffusion(LogLinearSNR(1e6, 1e-6), 0.3, std, 2)
    x = 0.3 + std * torch.randn(200, 2, dtype=torch.float64)
    truth = torch.distributions.Normal(0.3, std).log_prob(x).sum(1)
    for density in (FINE, ProbabilityFlow()):
        gap = program.log_prob(x, density=density).value.mean() - truth.mean()
        assert abs(float(gap)) / 2 / math.log(2) < 1e-4


def test_theorem_11_of_a_program():
    centres = torch.tensor([[-2.0], [2.0]])
    program = mixture_diffusion(VPLinear(), centres, 0.35, start=1e-6)
    x = torch.tensor([[0.0], [2.3]], dtype=torch.float64)
    value = program.log_prob(x, density=ProbabilityFlow(rtol=1e-9, atol=1e-9)).value
    torch.testing.assert_close(
        value, mixture_log_prob(x, centres, 0.35), rtol=0, atol=1e-3
    )  # N(0, 1) is not quite p_1


def test_the_density_integrates_to_one():
    program = mixture_diffusion(LogLinearSNR(1e4, 1e-4), torch.tensor([[-2.0], [1.0]]), 0.5)
    x = torch.linspace(-8, 8, 801, dtype=torch.float64)[:, None]
    value = program.log_prob(x, density=FINE).value
    assert float(torch.trapezoid(value.exp(), x[:, 0])) == pytest.approx(1.0, abs=1e-6)


def test_standardisation_is_accounted_for():
    program = gaussian_diffusion(LogLinearSNR(1e6, 1e-6), dims=2)
    x = torch.randn(5000, 2, dtype=torch.float64) * torch.tensor([0.1, 20.0]) + 3
    program.initialise(x)
    model = torch.distributions.Normal(program.denoiser.loc, program.denoiser.scale)
    value = program.log_prob(x[:9], density=FINE).value
    torch.testing.assert_close(value, model.log_prob(x[:9]).sum(1), rtol=0, atol=1e-5)


def random_program(dims: int = 4) -> Diffusion:
    program = Diffusion(dims, hidden=16, blocks=1).double()
    with torch.no_grad():
        program.denoiser.network.output.weight.normal_(0, 0.3)
    return program


def test_hutchinson_agrees_with_the_exact_divergence():
    program, x = random_program(), torch.randn(8, 4, dtype=torch.float64)
    exact = program.log_prob(x, density=ProbabilityFlow(rtol=1e-5, atol=1e-5)).value
    estimate = program.log_prob(x, density=ProbabilityFlow(Hutchinson(64, chunk=None), 1e-5, 1e-5))
    assert estimate.kind is Kind.ESTIMATE
    z = (estimate.value - exact) / estimate.stderr
    assert float(z.abs().max()) < 6  # eight t-values of 63 degrees of freedom
    assert float(z.square().mean()) > 0.05  # the error is not overstated


def test_score_is_the_gradient_of_the_density():
    program = gaussian_diffusion(
        LogLinearSNR(1e6, 1e-6), 0.3, 0.5, 2, density=ProbabilityFlow(rtol=1e-7, atol=1e-7)
    )
    x = torch.randn(3, 2, dtype=torch.float64)
    torch.testing.assert_close(program.score(x), -(x - 0.3) / 0.25, rtol=1e-3, atol=1e-3)


def test_images_and_fixed_steps():
    class Scale(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = torch.nn.Parameter(torch.ones(1))

        def forward(self, z, t):
            return self.factor * z

    program = Diffusion((1, 2, 2), network=Scale()).double()
    coarse = ProbabilityFlow(ExactDivergence(), method="rk4", options={"step_size": 0.02})
    x = torch.randn(3, 1, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(
        program.log_prob(x, density=coarse).value,
        program.log_prob(x, density=FINE).value,
        rtol=1e-5,
        atol=1e-4,
    )


def test_only_a_diffusion_has_a_flow():
    with pytest.raises(ArgumentError, match="Diffusion"):
        PPCA(3, 1).log_prob(torch.randn(2, 3), density=ProbabilityFlow())
