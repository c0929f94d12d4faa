"""Oracles: closed forms of tests.diffusion_problems, automatic differentiation, a Gaussian."""

from __future__ import annotations

import math

import torch

from tests.diffusion_problems import MixtureNoise, mixture_log_prob
from unigen.dynamics.schedule import LogLinearSNR, VPLinear
from unigen.relations.noisy_mixture import NoisyMixture

F64 = torch.float64
CENTRES = torch.tensor([[-2.0, 0.5], [1.0, 1.0], [0.0, -3.0]], dtype=F64)


def test_denoiser_and_density_agree_with_one_another_and_with_other_code():
    law, t = NoisyMixture(VPLinear(), CENTRES, 0.4), torch.linspace(0.01, 1.0, 20, dtype=F64)
    z = torch.randn(20, 2, dtype=F64).requires_grad_(True)
    score = torch.autograd.grad(law.log_prob(z, t).sum(), z)[0]
    torch.testing.assert_close(law(z, t), -law.schedule.sigma(t)[:, None] * score)
    torch.testing.assert_close(law(z, t), MixtureNoise(VPLinear(), CENTRES, 0.4)(z, t))
    at_zero = law.log_prob(z, torch.zeros(20, dtype=F64))
    torch.testing.assert_close(at_zero, mixture_log_prob(z, CENTRES, 0.4))


def test_quadrature_of_a_gaussian():
    law, t = NoisyMixture(LogLinearSNR(), torch.zeros(1, 1), 2.0), torch.tensor([0.0, 0.3, 1.0], dtype=F64)
    alpha, sigma, variance = law.levels(t)
    square, entropy = law.quadrature(t)
    torch.testing.assert_close(square, sigma**2 / variance, rtol=1e-9, atol=0)
    torch.testing.assert_close(
        entropy, 0.5 * torch.log(2 * math.pi * math.e * variance), rtol=1e-9, atol=1e-9
    )
    assert float(alpha[0]) > 0.99


def test_draws_have_the_moments():
    x = NoisyMixture(LogLinearSNR(), CENTRES, 0.4).draw(50_000)
    spread = math.sqrt(float(CENTRES.var(0).max()) + 0.16)
    assert float((x.mean(0) - CENTRES.mean(0)).abs().max()) < 5 * spread / math.sqrt(50_000) * 1.3
