"""Grid lines are lines before the map, and where the map puts them after it."""

from __future__ import annotations

import numpy as np
import pytest

from unigen.errors import EmptyDataError
from unigen.plots.warp import plane_grid, warp_figure


def test_vertical_lines_come_first():
    grid = plane_grid(1.5, 4, 7)
    assert grid.shape == (8, 7, 2)
    assert (np.ptp(grid[:4, :, 0], axis=1) == 0).all() and (np.ptp(grid[4:, :, 1], axis=1) == 0).all()
    assert grid.min() == -1.5 and grid.max() == 1.5


def test_each_panel_shows_its_lines_and_points():
    grid, points = plane_grid(lines=3), np.random.default_rng(0).normal(size=(20, 2))
    fig = warp_figure({"noise": (grid, points), "data": (2 * grid, points + 1)}, ["z"])
    assert [axes.get_title(loc="left") for axes in fig.axes] == ["noise", "data"]
    for axes, scale in zip(fig.axes, (1, 2), strict=True):
        assert len(axes.lines) == 7
        np.testing.assert_allclose(axes.lines[0].get_xydata(), scale * grid[0])
    fig.canvas.draw()
    with pytest.raises(EmptyDataError):
        warp_figure({})
