from __future__ import annotations

import math

import pytest
import torch

from unigen.dynamics.schedule import LogLinearSNR, VPCosine, VPLinear
from unigen.errors import ArgumentError
from unigen.samplers.grids import EqualLogSNR, EqualTimes, GivenTimes, KarrasTimes, as_grid

SCHEDULES = [(VPLinear(), 1e-3), (VPCosine(), 0.0), (LogLinearSNR(), 0.0)]


@pytest.mark.parametrize("grid", [EqualTimes(), EqualLogSNR(), KarrasTimes()], ids=repr)
@pytest.mark.parametrize(("schedule", "start"), SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 33])
def test_times_fall_from_one_to_the_start(grid, schedule, start, steps):
    times = grid.times(steps, schedule, start)
    assert (times.shape, times.dtype) == ((steps + 1,), torch.float64)
    assert (float(times[0]), float(times[-1])) == (1.0, start)
    assert bool((torch.diff(times) < 0).all())


@pytest.mark.parametrize(("schedule", "start"), SCHEDULES)
def test_what_should_be_equal_is_equal(schedule, start):
    spans = {
        EqualTimes(): lambda t: t,
        EqualLogSNR(): schedule.log_snr,
        KarrasTimes(5.0): lambda t: torch.exp(-schedule.log_snr(t) / 10.0),
    }
    for grid, coordinate in spans.items():
        steps = torch.diff(coordinate(grid.times(20, schedule, start)))
        torch.testing.assert_close(steps, steps.mean().expand(20), rtol=1e-7, atol=1e-12)


def test_given_times_are_taken_as_they_are():
    times = torch.tensor([1.0, 0.5, 0.2])
    grid = as_grid(times)
    torch.testing.assert_close(grid.times(2, VPCosine(), 0.0), times.double(), rtol=0, atol=1e-7)
    assert as_grid(grid) is grid
    assert repr(GivenTimes((1.0, 0.5))) == "GivenTimes(values=(1.0, 0.5))"


@pytest.mark.parametrize(
    "values", [[1.0], [0.9, 0.1], [1.0, 0.5, 0.5], [1.0, 0.2, 0.4], [1.0, -0.1], [1.0, math.nan]]
)
def test_times_that_are_no_grid_are_refused(values):
    with pytest.raises(ArgumentError, match="strictly decreasing"):
        GivenTimes(values)


def test_times_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentError, match=r"steps \+ 1"):
        GivenTimes([1.0, 0.5]).times(2, VPCosine(), 0.0)
    with pytest.raises(ArgumentError, match=r"0\.1 or above"):
        GivenTimes([1.0, 0.05]).times(1, VPCosine(), 0.1)
    with pytest.raises(ArgumentError, match="rho"):
        KarrasTimes(0.0)
