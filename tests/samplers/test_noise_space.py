"""Oracles: the linear flow of Gaussian data in closed form, and the way back."""

from __future__ import annotations

import pytest
import torch

from tests.diffusion_problems import gaussian_ddpm, gaussian_diffusion, mixture_diffusion
from unigen.dynamics.schedule import LogLinearSNR, VPCosine
from unigen.errors import ArgumentError, ShapeError
from unigen.models.cnf import CNF
from unigen.models.diffusion import Diffusion
from unigen.models.flow_matching import FlowMatching
from unigen.models.ppca import PPCA
from unigen.samplers.noise_space import from_noise, to_noise
from unigen.samplers.probability_flow import ProbabilityFlowODE

F64 = torch.float64
FINE = ProbabilityFlowODE(1e-9, 1e-9)


def test_gaussian_data_are_mapped_linearly():
    """z_1 = alpha_1 m + s_1 (x alpha_0 − alpha_0 m) / s_0, s_t² = alpha_t² s² + sigma_t²: quantiles are kept."""
    schedule, mean, std = VPCosine(1e3, 1e-3), 0.7, 2.0
    program, x = gaussian_diffusion(schedule, mean, std, 3), torch.randn(5, 3, dtype=F64)
    ends = torch.tensor([0.0, 1.0], dtype=F64)
    alpha, sigma = schedule.alpha(ends), schedule.sigma(ends)
    spread = torch.sqrt(alpha**2 * std**2 + sigma**2)
    exact = alpha[1] * mean + spread[1] / spread[0] * alpha[0] * (x - mean)
    torch.testing.assert_close(to_noise(program, x, ode=FINE), exact, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(from_noise(program, exact, ode=FINE), x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("tolerance", [1e-5, 1e-8])
def test_there_and_back_to_the_tolerance(tolerance):
    centres = torch.tensor([[-2.0, 0.0], [2.0, 1.0]])
    program, ode = (
        mixture_diffusion(LogLinearSNR(1e4, 1e-4), centres, 0.35),
        ProbabilityFlowODE(tolerance, tolerance),
    )
    x = centres[torch.randint(2, (20,))].double() + 0.35 * torch.randn(20, 2, dtype=F64)
    error = from_noise(program, to_noise(program, x, ode=ode), ode=ode) - x
    assert float(error.abs().max()) < 300 * tolerance, (
        "some hundred steps of this error, stretched by the flow"
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: Diffusion(2, hidden=8, blocks=1, context=3), lambda: FlowMatching(2, hidden=8, blocks=1, context=3),
        lambda: CNF(2, hidden=(8,), context=3),
    ],
    ids=["Diffusion", "FlowMatching", "CNF"],
)  # fmt: skip
def test_every_continuous_flow_has_both_ways(build):
    program, x, c = build().double(), torch.randn(4, 2, dtype=F64), torch.randn(4, 3, dtype=F64)
    z = program.to_noise(x, c)
    assert z.shape == x.shape
    torch.testing.assert_close(program.from_noise(z, c), x, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(program.from_noise(program.to_noise(x, c[:1]), c[:1]), x, rtol=1e-3, atol=1e-3)


def test_a_ddpm_goes_by_its_denoiser():
    program, x = gaussian_ddpm(LogLinearSNR(1e3, 1e-3), 5, std=2.0), torch.randn(4, 1, dtype=F64)
    torch.testing.assert_close(from_noise(program, to_noise(program, x)), x, rtol=1e-3, atol=1e-3)


def test_misuse_is_refused():
    with pytest.raises(ArgumentError, match="Diffusion"):
        to_noise(PPCA(3, 1), torch.randn(2, 3))
    with pytest.raises(ShapeError, match="site 'z'"):
        Diffusion(2, hidden=8, blocks=1).from_noise(torch.randn(4, 3))
