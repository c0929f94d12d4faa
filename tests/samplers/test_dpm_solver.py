from __future__ import annotations

import math

import pytest
import torch

from tests.diffusion_problems import gaussian_diffusion
from tests.gaussian_walks import SCHEDULE, TIMES, ByHand, check_moments, fitted_order, weak_order
from unigen.dynamics.schedule import LogLinearSNR, VPLinear
from unigen.errors import ArgumentError
from unigen.samplers.ddim import DDIM
from unigen.samplers.dpm_solver import DPMSolver
from unigen.samplers.grids import EqualLogSNR, EqualTimes, KarrasTimes

STEPS = len(TIMES) - 1


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("grid", [EqualTimes(), EqualLogSNR(), KarrasTimes()], ids=repr)
def test_the_order_is_what_it_says(order, grid):
    program = gaussian_diffusion(LogLinearSNR(1e3, 1e-3), std=0.5)
    samplers = [DPMSolver(steps, order, times=grid) for steps in (64, 128, 256)]
    assert fitted_order(program, 0.5, samplers) == pytest.approx(order, abs=0.1)


def test_the_order_does_not_depend_on_the_schedule():
    program = gaussian_diffusion(VPLinear(), std=0.5, start=1e-2)
    samplers = [DPMSolver(steps) for steps in (64, 128, 256)]
    assert fitted_order(program, 0.5, samplers) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("sde", [False, True])
def test_moments_are_those_of_algorithm_two(sde):
    """Algorithm 2 and its SDE version of the paper, with D_0 and D_1 = (D_0 − D_before) / r, r = h_before / h."""
    hand = ByHand(SCHEDULE, mean=-1.0, std=0.5)
    lam = [math.log(a / s) for a, s in zip(hand.alpha, hand.sigma, strict=True)]
    z, before = hand.noise(), None
    for i in range(STEPS):
        h, alpha, sigma = lam[i + 1] - lam[i], hand.alpha[i + 1], hand.sigma[i + 1]
        d0 = hand.data(z, hand.alpha[i], hand.sigma[i])
        d1 = torch.zeros_like(d0) if before is None else (d0 - before) / ((lam[i] - lam[i - 1]) / h)
        decay = math.exp(-2 * h if sde else -h)
        kept = sigma / hand.sigma[i] * (math.exp(-h) if sde else 1.0)
        z = kept * z + alpha * (1 - decay) * (d0 + 0.5 * d1)
        if sde:
            z = z + sigma * math.sqrt(1 - math.exp(-2 * h)) * hand.noise()
        before = d0
    program = gaussian_diffusion(SCHEDULE, mean=-1.0, std=0.5)
    check_moments(program, DPMSolver(STEPS, sde=sde, times=TIMES, lower_order_final=False), z)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_constant_prediction_is_followed_exactly(steps):
    """Data at one point m: z_s = alpha_s m + (sigma_s / sigma_t) (z_t − alpha_t m) in any number of steps."""
    m, z = 0.7, torch.randn(9, 1, dtype=torch.float64)
    program = gaussian_diffusion(SCHEDULE, mean=m, std=0.0)
    ends = torch.tensor([1.0, 0.0], dtype=torch.float64)
    alpha, sigma = SCHEDULE.alpha(ends), SCHEDULE.sigma(ends)
    exact = m + sigma[1] / sigma[0] * (z - alpha[0] * m) / alpha[1]
    ours = DPMSolver(steps, times=KarrasTimes()).push(program, z)
    torch.testing.assert_close(ours, exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("sde", "eta"), [(False, 0.0), (True, 1.0)])
def test_order_one_is_ddim(sde, eta):
    program = gaussian_diffusion(SCHEDULE, mean=0.3, std=0.5)
    samplers = DPMSolver(9, order=1, sde=sde, times=EqualTimes()), DDIM(9, eta)
    one, other = (program.sample(50, sampler=sampler, seed=3) for sampler in samplers)
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_a_second_walk_does_not_remember_the_first():
    program = gaussian_diffusion(SCHEDULE, std=0.5)
    z, sampler = torch.randn(3, 1, dtype=torch.float64), DPMSolver(4)
    assert torch.equal(sampler.push(program, z), sampler.push(program, z))


def test_the_order_is_one_or_two():
    with pytest.raises(ArgumentError, match="order"):
        DPMSolver(order=3)


@pytest.mark.parametrize("order", [1, 2])
def test_the_weak_order_of_the_sde_is_what_it_says(order, monkeypatch):
    program = gaussian_diffusion(LogLinearSNR(1e3, 1e-3), std=0.5)
    samplers = [DPMSolver(steps, order, sde=True) for steps in (128, 256, 512)]
    assert weak_order(program, 0.5, samplers, monkeypatch) == pytest.approx(order, abs=0.1)
