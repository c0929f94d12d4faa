from __future__ import annotations

import math

import pytest
import torch

from tests.diffusion_problems import gaussian_diffusion, mixture_diffusion, mixture_log_prob
from tests.gaussian_walks import SCHEDULE, TIMES, ByHand, check_moments, fitted_order, weak_order
from unigen.dynamics.schedule import LogLinearSNR, VPLinear
from unigen.errors import ArgumentError
from unigen.samplers.edm import EDM
from unigen.samplers.grids import EqualLogSNR, EqualTimes, KarrasTimes

STEPS = len(TIMES) - 1


@pytest.mark.parametrize("grid", [EqualTimes(), EqualLogSNR(), KarrasTimes()], ids=repr)
@pytest.mark.parametrize(("schedule", "start"), [(LogLinearSNR(1e3, 1e-3), None), (VPLinear(), 1e-2)])
def test_without_churn_the_order_is_two(grid, schedule, start):
    program = gaussian_diffusion(schedule, std=0.5, start=start)
    samplers = [EDM(steps, times=grid) for steps in (64, 128, 256)]
    assert fitted_order(program, 0.5, samplers) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("churn", "limits", "scale"),
    [(0.0, (0.0, math.inf), 1.0), (1.0, (0.0, math.inf), 1.0), (9.0, (0.2, 4.0), 1.007)],
)
def test_moments_are_those_of_the_algorithm_of_karras(churn, limits, scale):
    """Algorithm 2 of the paper in y = z / alpha, whose noise may not exceed that at t = 1."""
    hand = ByHand(SCHEDULE, mean=-1.0, std=0.5)
    levels = [s / a for a, s in zip(hand.alpha, hand.sigma, strict=True)]
    y = levels[0] * hand.noise() / hand.sigma[0]  # from N(0, 1) in z
    for level, after in zip(levels[:-1], levels[1:], strict=True):
        gamma = min(churn / STEPS, math.sqrt(2) - 1) if limits[0] <= level <= limits[1] else 0.0
        up = min(level * (1 + gamma), levels[0])
        y = y + math.sqrt(up**2 - level**2) * scale * hand.noise()
        slope = (y - hand.data(y, 1.0, up)) / up
        guess = y + (after - up) * slope
        y = y + (after - up) * 0.5 * (slope + (guess - hand.data(guess, 1.0, after)) / after)
    program = gaussian_diffusion(SCHEDULE, mean=-1.0, std=0.5)
    check_moments(program, EDM(STEPS, churn, limits, scale, times=TIMES), hand.alpha[-1] * y)


def test_draws_of_a_mixture_pass_a_test_of_their_density():
    centres, std, n = torch.tensor([[-2.0, 0.0], [2.0, 1.0]]), 0.35, 4000
    program = mixture_diffusion(VPLinear(), centres, std, start=1e-4)
    x = program.sample(n, sampler=EDM(40, churn=10.0))
    ours = mixture_log_prob(x, centres, std)
    truth = mixture_log_prob(
        centres.double()[torch.randint(2, (n,))] + std * torch.randn(n, 2).double(), centres, std
    )
    stderr = math.sqrt(float(ours.var() + truth.var()) / n)
    assert abs(float(ours.mean() - truth.mean())) < 0.03 + 5 * stderr
    assert abs(float((x[:, 0] > 0).double().mean()) - 0.5) < 5 * 0.5 / math.sqrt(n)


@pytest.mark.parametrize(
    "options", [{"churn": -1.0}, {"churn": math.nan}, {"noise_range": (2.0, 1.0)}, {"noise_scale": 0.0}]
)
def test_misuse_is_refused(options):
    with pytest.raises(ArgumentError, match="churn"):
        EDM(**options)


def test_with_churn_the_weak_order_is_two(monkeypatch):
    program = gaussian_diffusion(LogLinearSNR(1e3, 1e-3), std=0.5)
    samplers = [EDM(steps, churn=5.0) for steps in (64, 128, 256)]
    assert weak_order(program, 0.5, samplers, monkeypatch) == pytest.approx(2.0, abs=0.1)
