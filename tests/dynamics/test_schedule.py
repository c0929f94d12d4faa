from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unigen.dynamics.learned_snr import LearnedSNR
from unigen.dynamics.schedule import LogLinearSNR, Schedule, VariancePreserving, VPCosine, VPLinear
from unigen.dynamics.variance_exploding import VE, SubVP
from unigen.dynamics.vp_constant import VPConstant
from unigen.errors import ArgumentError

SCHEDULES = [VPLinear(), VPLinear(0.5, 3.0), VPCosine(), LogLinearSNR(), LogLinearSNR(1e3, 1e-4)]
SCHEDULES += [
    VE(),
    VE(0.1, 5.0),
    SubVP(),
    SubVP(0.5, 3.0),
    VPConstant(),
    LearnedSNR(),
    LearnedSNR(1e3, 1e-4, hidden=5),
]
PRESERVING = [schedule for schedule in SCHEDULES if isinstance(schedule, VariancePreserving)]


@pytest.fixture(params=SCHEDULES, ids=repr)
def schedule(request: pytest.FixtureRequest) -> Schedule:
    return request.param


def inner_times() -> Tensor:
    return torch.linspace(0.002, 0.998, 97, dtype=torch.float64)


def derivative(f, t: Tensor) -> Tensor:
    t = t.clone().requires_grad_(True)
    return torch.autograd.grad(f(t).sum() + 0.0 * t.sum(), t)[0]  # of constants too


@pytest.mark.parametrize("schedule", PRESERVING, ids=repr)
def test_variance_is_preserved(schedule):
    t = inner_times()
    torch.testing.assert_close(
        schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, torch.ones_like(t), rtol=0, atol=1e-14
    )


def test_drift_coefficient_is_the_derivative_of_log_alpha(schedule):
    t = inner_times()
    torch.testing.assert_close(
        schedule.drift_coefficient(t), derivative(schedule.log_alpha, t), rtol=1e-10, atol=1e-12
    )


def test_squared_diffusion_closes_the_variance_equation(schedule):
    t = inner_times()
    variance_rate = derivative(lambda s: schedule.sigma(s) ** 2, t)
    expected = variance_rate - 2 * schedule.drift_coefficient(t) * schedule.sigma(t) ** 2
    torch.testing.assert_close(schedule.diffusion_squared(t), expected, rtol=1e-9, atol=1e-12)


def test_squared_diffusion_is_the_fall_of_the_log_snr(schedule):
    t = inner_times()
    expected = -(schedule.sigma(t) ** 2) * derivative(schedule.log_snr, t)
    torch.testing.assert_close(schedule.diffusion_squared(t), expected, rtol=1e-9, atol=1e-12)


def test_rates_are_derivatives(schedule):
    t = inner_times()
    torch.testing.assert_close(schedule.alpha_rate(t), derivative(schedule.alpha, t), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(schedule.sigma_rate(t), derivative(schedule.sigma, t), rtol=1e-9, atol=1e-12)


def test_float32_agrees_with_float64(schedule):
    t = torch.linspace(0.002, 1.0, 200, dtype=torch.float64)
    for name in ("alpha", "sigma", "log_snr", "drift_coefficient", "diffusion_squared"):
        single, double = getattr(schedule, name)(t.float()), getattr(schedule, name)(t)
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), double, rtol=3e-5, atol=3e-5)


def test_vp_linear_ends():
    assert float(VPLinear().alpha(1.0)) == pytest.approx(math.exp(-5.025), rel=1e-5)
    assert float(VPLinear().sigma(0.0)) == 0.0
    assert float(VPLinear().rate(0.25)) == pytest.approx(0.1 + 0.25 * 19.9, rel=1e-6)


def test_log_snr_is_linear_from_nine_to_minus_seven():
    t = torch.linspace(0, 1, 33, dtype=torch.float64)
    torch.testing.assert_close(LogLinearSNR().log_snr(t), 9.0 - 16.0 * t, rtol=1e-12, atol=1e-12)


def test_cosine_is_a_quarter_circle_with_the_given_ends():
    schedule = VPCosine(snr_max=1e4, snr_min=1e-3)
    assert float(schedule.log_snr(0.0)) == pytest.approx(math.log(1e4), rel=1e-5)
    assert float(schedule.log_snr(1.0)) == pytest.approx(math.log(1e-3), rel=1e-5)
    angle = torch.atan2(schedule.sigma(inner_times()), schedule.alpha(inner_times()))
    torch.testing.assert_close(torch.diff(angle), torch.diff(angle)[0].expand(96), rtol=1e-9, atol=0)


@pytest.mark.parametrize("t", [-0.1, 1.0001, math.nan, math.inf])
def test_a_time_outside_is_refused(schedule, t):
    for name in ("alpha", "sigma", "log_snr", "drift_coefficient", "diffusion_squared", "check"):
        with pytest.raises(ArgumentError, match="unit interval"):
            getattr(schedule, name)(t)
    with pytest.raises(ArgumentError, match="unit interval"):
        schedule.check(torch.tensor([0.5, t]))


@pytest.mark.parametrize(
    "build",
    [
        lambda: VPLinear(beta_min=2.0, beta_max=1.0),
        lambda: VPLinear(beta_min=0.0),
        lambda: VPLinear(beta_max=math.inf),
        lambda: VPCosine(snr_max=1.0, snr_min=2.0),
        lambda: LogLinearSNR(snr_max=1.0, snr_min=1.0),
        lambda: LogLinearSNR(snr_max=math.nan),
        lambda: LogLinearSNR(snr_min=-1.0),
        lambda: VE(1.0, 1.0),
        lambda: VE(sigma_max=math.inf),
        lambda: SubVP(beta_min=math.nan),
        lambda: SubVP(2.0, 1.0),
        lambda: VPConstant(0.0),
        lambda: LearnedSNR(1.0, 2.0),
        lambda: LearnedSNR(hidden=0),
    ],
)
def test_bad_ends_are_refused(build):
    with pytest.raises(ArgumentError, match="expected"):
        build()


class Bumpy(Schedule):
    """Loses noise again in the second half."""

    def log_alpha(self, t):
        return torch.zeros_like(t)

    def sigma(self, t):
        return 0.1 + torch.sin(math.pi * t)

    def drift_coefficient(self, t):
        return torch.zeros_like(t)

    def diffusion_squared(self, t):
        return 2 * self.sigma(t) * math.pi * torch.cos(math.pi * t)


def test_a_schedule_that_turns_back_is_refused():
    with pytest.raises(ArgumentError, match=r"after t=0\.5"):
        Bumpy().check_monotone()


def test_proper_schedules_are_monotone(schedule):
    schedule.check_monotone()
