"""Oracles: end points, automatic derivatives, the diffusion schedule of the same levels."""

from __future__ import annotations

import pytest
import torch

from unigen.dynamics.interpolant import VP, InterpolantSchedule, Linear, Trigonometric
from unigen.dynamics.prediction import Eps, Velocity, convert
from unigen.dynamics.schedule import LogLinearSNR, Schedule, VPCosine, VPLinear
from unigen.errors import ArgumentError

F64 = torch.float64
PATHS = [Linear(), Trigonometric(), VP(), VP(VPLinear()), VP(LogLinearSNR())]
every_path = pytest.mark.parametrize("path", PATHS, ids=repr)


@pytest.mark.parametrize("path", PATHS[:3], ids=repr)
def test_paths_begin_at_the_datum_and_end_at_the_noise(path):
    ends = torch.tensor([0.0, 1.0], dtype=F64)
    slack = 3e-3 if isinstance(path, VP) else 1e-12
    torch.testing.assert_close(path.alpha(ends), torch.tensor([1.0, 0.0], dtype=F64), rtol=0, atol=slack)
    torch.testing.assert_close(path.sigma(ends), torch.tensor([0.0, 1.0], dtype=F64), rtol=0, atol=slack)


@every_path
def test_rates_are_the_derivatives(path):
    t = torch.linspace(0.05, 0.95, 11, dtype=F64, requires_grad=True)
    for level, rate in ((path.alpha, path.alpha_rate), (path.sigma, path.sigma_rate)):
        (slope,) = torch.autograd.grad(level(t).sum(), t)
        torch.testing.assert_close(rate(t.detach()), slope, rtol=1e-9, atol=1e-9)


@every_path
def test_the_velocity_is_the_derivative_of_the_path_and_gives_the_noise_back(path):
    u, eps = torch.randn(2, 6, 3, dtype=F64)
    t = torch.rand(6, dtype=F64) * 0.9 + 0.05
    got = path.velocity(u, eps, t)
    h = 1e-5
    slope = (path.between(u, eps, t + h) - path.between(u, eps, t - h)) / (2 * h)
    torch.testing.assert_close(got, slope, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(path.noise(got, path.between(u, eps, t), t), eps, rtol=1e-8, atol=1e-8)


@every_path
def test_the_schedule_of_a_path_converts_alike(path):
    """The velocity read as noise by the diffusion's formulas, in f and g², is that by alpha' and sigma'."""
    schedule = path.as_schedule()
    schedule.check_monotone()
    t, z, v = torch.rand(5, dtype=F64) * 0.9 + 0.05, *torch.randn(2, 5, 2, dtype=F64)
    torch.testing.assert_close(convert(v, Velocity(), Eps(), z, t, schedule), path.noise(v, z, t))


def test_the_schedule_is_finite_at_the_end_and_gives_the_velocity_back():
    schedule = InterpolantSchedule(Linear())
    t, z, v = torch.ones(4, dtype=F64), *torch.randn(2, 4, 2, dtype=F64)
    eps = convert(v, Velocity(), Eps(), z, t, schedule)
    f, g2 = schedule.drift_coefficient(t)[:, None], schedule.diffusion_squared(t)[:, None]
    torch.testing.assert_close(f * z + 0.5 * g2 * eps / schedule.sigma(t)[:, None], v, rtol=0, atol=1e-9)


def test_bad_arguments_are_refused():
    class Exploding(Schedule):
        log_alpha = sigma = drift_coefficient = diffusion_squared = lambda self, t: torch.as_tensor(t)

    with pytest.raises(ArgumentError, match="preserve the variance"):
        VP(Exploding())
    with pytest.raises(ArgumentError, match="floor"):
        InterpolantSchedule(Linear(), floor=0.0)
    with pytest.raises(ArgumentError, match="unit interval"):
        Linear().alpha(1.5)
    assert repr(VP(VPCosine())).startswith("VP(VPCosine(")
    assert repr(Linear()) == "Linear()"
    assert repr(InterpolantSchedule(Trigonometric())) == "InterpolantSchedule(Trigonometric(), floor=0.001)"
