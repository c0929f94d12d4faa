from __future__ import annotations

import math

import pytest
import torch

from tests.diffusion_problems import gaussian_diffusion
from tests.gaussian_walks import SCHEDULE, TIMES, ByHand, check_moments, fitted_order, weak_order
from unigen.dynamics.schedule import LogLinearSNR, VPLinear
from unigen.errors import ArgumentError
from unigen.samplers.ddim import DDIM
from unigen.samplers.ddpm import DDPMAncestral
from unigen.samplers.grids import EqualLogSNR, EqualTimes, KarrasTimes

STEPS = len(TIMES) - 1


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_moments_are_those_of_the_chain_of_song(eta):
    """Equation 12 and 16 of the paper, whose alpha_t is alpha_t² here."""
    hand = ByHand(SCHEDULE, mean=-1.0, std=0.5)
    z = hand.noise()
    for i in range(STEPS):
        a_t, a_s = hand.alpha[i] ** 2, hand.alpha[i + 1] ** 2
        std = eta * math.sqrt((1 - a_s) / (1 - a_t)) * math.sqrt(1 - a_t / a_s)
        eps = hand.eps(z, hand.alpha[i], hand.sigma[i])
        predicted = (z - math.sqrt(1 - a_t) * eps) / math.sqrt(a_t)
        z = math.sqrt(a_s) * predicted + math.sqrt(1 - a_s - std**2) * eps + std * hand.noise()
    program = gaussian_diffusion(SCHEDULE, mean=-1.0, std=0.5)
    check_moments(program, DDIM(STEPS, eta, times=TIMES), z)


def test_without_noise_it_is_the_exponential_integrator():
    """z_s = (alpha_s / alpha_t) z_t − sigma_s (e^h − 1) eps, h = λ_s − λ_t: equation 3.7 of DPM-Solver."""
    program = gaussian_diffusion(SCHEDULE, mean=0.3, std=0.5)
    noise = torch.randn(7, 1, dtype=torch.float64)
    times, z = torch.tensor(TIMES, dtype=torch.float64), noise
    alpha, sigma = SCHEDULE.alpha(times), SCHEDULE.sigma(times)
    for i in range(STEPS):
        eps = program.denoiser(z, times[i])[1]
        h = torch.log(alpha[i + 1] / sigma[i + 1]) - torch.log(alpha[i] / sigma[i])
        z = alpha[i + 1] / alpha[i] * z - sigma[i + 1] * torch.expm1(h) * eps
    ours = DDIM(STEPS, times=TIMES).push(program, noise)
    torch.testing.assert_close(ours, z / alpha[-1], rtol=1e-12, atol=1e-12)


def test_with_all_noise_it_is_ancestral():
    program = gaussian_diffusion(SCHEDULE, mean=0.3, std=0.5)
    one, other = (
        program.sample(50, sampler=sampler, seed=3) for sampler in (DDIM(9, eta=1.0), DDPMAncestral(9))
    )
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("grid", [EqualTimes(), EqualLogSNR(), KarrasTimes()], ids=repr)
@pytest.mark.parametrize(("schedule", "start"), [(LogLinearSNR(1e3, 1e-3), None), (VPLinear(), 1e-2)])
def test_without_noise_the_order_is_one(grid, schedule, start):
    program = gaussian_diffusion(schedule, std=0.5, start=start)
    samplers = [DDIM(steps, times=grid) for steps in (64, 128, 256)]
    assert fitted_order(program, 0.5, samplers) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_eta_is_a_fraction(eta):
    with pytest.raises(ArgumentError, match="eta"):
        DDIM(eta=eta)


def test_with_noise_the_weak_order_is_one(monkeypatch):
    program = gaussian_diffusion(LogLinearSNR(1e3, 1e-3), std=0.5)
    samplers = [DDIM(steps, eta=1.0) for steps in (128, 256, 512)]
    assert weak_order(program, 0.5, samplers, monkeypatch) == pytest.approx(1.0, abs=0.1)
