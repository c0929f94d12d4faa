"""Oracles: Gaussian data in closed form, THEOREM 11's mixture, a schedule that ends in N(0, I) itself."""

from __future__ import annotations

import math

import pytest
import torch

from tests.diffusion_problems import ZeroTerminal, gaussian_diffusion, mixture_diffusion
from unigen.densities.probability_flow import ProbabilityFlow
from unigen.dynamics.prediction import V
from unigen.dynamics.schedule import LogLinearSNR, VPLinear
from unigen.errors import ArgumentError, EmptyDataError
from unigen.evaluate.terminal_mismatch import terminal_mismatch
from unigen.models.diffusion import Diffusion
from unigen.models.ppca import PPCA
from unigen.samplers.probability_flow import ProbabilityFlowODE

F64 = torch.float64
FINE = ProbabilityFlowODE(1e-10, 1e-10)


def quantiles(n: int) -> torch.Tensor:
    """n equally likely points of N(0, 1)."""
    return torch.special.ndtri((torch.arange(n, dtype=F64) + 0.5) / n)[:, None]


def test_gaussian_data_in_closed_form():
    """q(z_1) = N(alpha m, alpha² s² + sigma²); KL to N(0, 1) and the prior term are Gaussian integrals."""
    schedule, mean, std = LogLinearSNR(100.0, 0.3), 0.7, 2.0
    x = mean + std * quantiles(3000)
    found = terminal_mismatch(gaussian_diffusion(schedule, mean, std), x)
    alpha, sigma = (float(level(torch.ones((), dtype=F64))) for level in (schedule.alpha, schedule.sigma))
    second, spread = float((alpha * x).square().mean()), alpha**2 * float(x.var()) + sigma**2
    exact = 0.5 * (second + sigma**2 - 1 - math.log(spread))
    assert (
        abs(found.kl - exact) < 5 * found.stderr + 2e-3 * exact
    )  # the mixture of 3000 is not quite Gaussian
    assert found.stderr < 0.1 * exact
    assert found.prior_term == pytest.approx(0.5 * (second + sigma**2 - 1 - math.log(sigma**2)), rel=1e-9)
    information = 0.5 * math.log(spread / sigma**2)
    assert abs(found.information - information) < 5 * found.stderr + 2e-3


def test_theorem_11_the_flow_and_its_mismatch_apart():
    """½N(±2, .35²), VP .1→20: log p(0) −16.195647, log p(2.3) −.929611 once the shift is taken off."""
    centres = torch.tensor([[-2.0], [2.0]])
    program = mixture_diffusion(VPLinear(), centres, 0.35, start=1e-8)
    data = torch.cat([centre + 0.35 * quantiles(1000) for centre in (-2.0, 2.0)])
    points = torch.tensor([[0.0], [2.3]], dtype=F64)
    found = terminal_mismatch(program, data, at=points, ode=FINE)
    value = program.log_prob(points, density=ProbabilityFlow(rtol=1e-10, atol=1e-10)).value
    truth = torch.tensor([-16.195647, -0.929611], dtype=F64)
    assert bool(((value - truth).abs() > 1e-5).all()), "the mismatch is there"
    torch.testing.assert_close(value - found.shift, truth, rtol=0, atol=2e-6)
    assert 0 < found.kl < found.prior_term < 1e-4
    alpha2 = (
        float(VPLinear().alpha(1.0)) ** 2
    )  # variance 1 + 3.1225 alpha²: KL = ¼ (3.1225 alpha²)² and higher orders
    assert found.kl == pytest.approx(0.25 * (3.1225 * alpha2) ** 2, rel=0.3)


def test_noise_that_is_normal_has_no_mismatch():
    network = torch.nn.Sequential()
    network.forward = lambda z, t: 0.5 * z
    program = Diffusion(2, network=network, schedule=ZeroTerminal(), prediction=V()).double()
    found = terminal_mismatch(program, 3 * torch.randn(20, 2, dtype=F64))
    assert (abs(found.kl) < 1e-12, found.prior_term) == (True, 0.0)


def test_it_says_what_it_is_and_a_seed_reproduces():
    program, x = Diffusion(3, hidden=8, blocks=1, context=2), torch.randn(40, 3)
    one, two = (terminal_mismatch(program, x, torch.ones(1, 2), seed=1) for _ in range(2))
    assert one.kl == two.kl
    assert "at most the prior term" in str(one)
    assert one.shift is None


def test_misuse_is_refused():
    program = Diffusion(3, hidden=8, blocks=1, context=2)
    with pytest.raises(ArgumentError, match="one context"):
        terminal_mismatch(program, torch.randn(4, 3), torch.randn(4, 2))
    with pytest.raises(EmptyDataError, match="at least two"):
        terminal_mismatch(Diffusion(3, hidden=8, blocks=1), torch.randn(1, 3))
    with pytest.raises(ArgumentError, match="Diffusion"):
        terminal_mismatch(PPCA(3, 1), torch.randn(4, 3))
