"""Figures of diagnostics hold the numbers they are given."""

from __future__ import annotations

import math

import pytest

from unigen.errors import EmptyDataError
from unigen.plots.diagnostics import dimensions_figure, pareto_figure, rank_figure, rate_distortion_figure


def test_pareto_points_are_sorted_and_infinities_are_drawn():
    axes = pareto_figure([0.4, -math.inf, 0.2, math.inf], 0.7).axes[0]
    heights = [float(y) for _, y in axes.collections[0].get_offsets().tolist()]  # pyright: ignore
    assert heights == sorted(heights) and heights[1:3] == [0.2, 0.4] and math.isfinite(heights[0])
    assert {line.get_ydata()[0] for line in axes.lines} == {0.7, 1.0}  # pyright: ignore


def test_only_curves_that_leave_the_band_are_named():
    fig = rank_figure([0.5, 1.0], {"in": [0.01, 0.0], "out": [0.2, 0.0]}, [-0.1, 0.0], [0.1, 0.0], 0.95)
    labels = [text.get_text() for text in fig.axes[0].get_legend().get_texts()]  # pyright: ignore
    assert labels == ["95% band", "out"]


def test_the_entropy_is_a_line_of_slope_minus_one():
    axes = rate_distortion_figure([0.0, 2.0], [5.0, 3.5], ["a", "b"], entropy=4.0).axes[0]
    assert list(axes.lines[1].get_ydata()) == [4.0, 2.0]  # pyright: ignore
    assert [text.get_text() for text in axes.texts] == ["a", "b"]


def test_dimensions_fall():
    axes = dimensions_figure([0.1, 2.0, 1.0], [False, True, True]).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [2.0, 1.0, 0.1]  # pyright: ignore
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "0"]


def test_nothing_to_draw():
    for draw in (
        lambda: pareto_figure([], 0.7),
        lambda: rate_distortion_figure([], [], []),
        lambda: dimensions_figure([], []),
    ):
        with pytest.raises(EmptyDataError):
            draw()
