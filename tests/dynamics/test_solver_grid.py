"""Grids of steps that stop at the times of observation."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from unigen.dynamics.solver_grid import solver_grid
from unigen.errors import ArgumentError


def test_every_time_is_a_point_and_no_step_is_longer_than_dt():
    times = (0.0, 0.13, 0.5, 2.0)
    grid = solver_grid(times, 0.05)
    assert tuple(grid.points[i] for i in grid.stops) == times
    steps = [b - a for a, b in itertools.pairwise(grid.points)]
    assert max(steps) <= 0.05 * (1 + 1e-9) and min(steps) > 0
    assert grid.steps == sum(math.ceil(gap / 0.05 - 1e-6) for gap in (0.13, 0.37, 1.5))
    assert len(solver_grid(times).points) >= 51  # a fiftieth of the whole


def test_what_comes_next():
    grid = solver_grid((0.0, 1.0, 3.0), 0.5)
    index, following = grid.ahead(torch.tensor([0.0, 0.5, 1.0, 2.9, 3.0, 9.0]))
    assert index.tolist() == [1, 1, 2, 2, 2, 2]
    assert following.tolist() == [1.0, 1.0, 3.0, 3.0, 3.0, 3.0]
    assert grid.gap == 1.5 and grid.span == 3.0


@pytest.mark.parametrize(
    ("times", "dt", "message"),
    [
        ([0.0], None, "two times"),
        ([], None, "two times"),
        ([0.0, 2.0, 1.0], None, "got 2, 1"),
        ([0.0, 0.0], None, "strictly increasing"),
        ([0.0, math.nan], None, "strictly increasing"),
        ([0.0, math.inf], None, "finite"),
        ([0.0, 1.0], 0.0, "dt"),
        ([0.0, 1.0], math.nan, "dt"),
        ([0.0, 1.0], 1e-9, "larger dt"),
    ],
)
def test_bad_times_are_refused(times, dt, message):
    with pytest.raises(ArgumentError, match=message):
        solver_grid(times, dt)
