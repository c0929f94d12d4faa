from __future__ import annotations

import numpy as np
import pytest
import torch

from unigen.errors import ArgumentError, ShapeError
from unigen.plots.field import plane_points, score_field
from unigen.plots.style import figure


def normal(x: torch.Tensor) -> torch.Tensor:
    return -0.5 * x.square().sum(-1)


def test_arrows_are_the_field_in_units_of_x():
    axes = score_field(figure(4, 3).subplots(), lambda x: -x, half=(2.0, 1.0), arrows=8, length=0.25)
    quiver = axes.collections[-1]
    x, vectors = quiver.get_offsets(), np.stack([quiver.U, quiver.V], 1)
    assert x.shape == (8 * 4, 2)
    np.testing.assert_allclose(vectors, -np.asarray(x))
    assert quiver.scale == pytest.approx(4.0)  # pyright: ignore[reportAttributeAccessIssue]
    assert axes.get_xlim() == (-2, 2)
    assert axes.get_ylim() == (-1, 1)
    assert np.abs(x).max(0) == pytest.approx([1.75, 0.75])  # half a step inside the window


def test_the_longest_arrow_sets_the_length():
    axes = score_field(figure(3, 3).subplots(), lambda x: 100 * x, arrows=10)
    quiver = axes.collections[-1]
    longest = np.hypot(quiver.U, quiver.V).max()  # pyright: ignore[reportAttributeAccessIssue]
    assert longest / quiver.scale == pytest.approx(1.5 * 0.6)  # pyright: ignore[reportAttributeAccessIssue]


def test_contours_lie_below_the_arrows():
    alone = score_field(figure(3, 3).subplots(), lambda x: -x)
    both = score_field(figure(3, 3).subplots(), lambda x: -x, log_prob=normal)
    assert len(both.collections) == len(alone.collections) + 1
    assert both.get_aspect() == 1.0


def test_a_field_that_vanishes_is_drawn():
    score_field(figure(3, 3).subplots(), torch.zeros_like).figure.canvas.draw()


def test_points():
    x = plane_points((1.0, 2.0), (3, 5))
    assert x.shape == (15, 2)
    assert x.abs().max(0).values.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("options", [{"arrows": 1}, {"half": 0.0}, {"half": (1.0, -1.0)}, {"length": 0.0}])
def test_bad_sizes(options):
    with pytest.raises(ArgumentError):
        score_field(figure(3, 3).subplots(), lambda x: -x, **options)


def test_a_field_of_another_shape():
    with pytest.raises(ShapeError):
        score_field(figure(3, 3).subplots(), normal)
