"""Arcs: parallel edges apart, symmetric; a point on the curve against matplotlib's own path."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.bezier import BezierSegment
from matplotlib.patches import ConnectionStyle

from unigen.plots.arcs import along, bends


def test_parallel_edges_lie_apart_whichever_end_comes_first():
    edges = [("a", "b", "1"), ("b", "a", "2"), ("a", "b", "3"), ("b", "c", "4")]
    found = bends(edges)
    sides = [bend if a <= b else -bend for (a, b, _), bend in zip(edges, found, strict=True)]
    assert len(set(sides[:3])) == 3 and sum(sides[:3]) == 0 and found[3] == 0


@pytest.mark.parametrize("bend", [-0.5, 0.0, 0.25])
def test_points_lie_on_the_curve_that_matplotlib_draws(bend):
    a, b = (1.0, 2.0), (4.0, -1.0)
    curve = BezierSegment(ConnectionStyle("arc3", rad=bend).connect(a, b).vertices)
    for t in (0.0, 0.3, 0.5, 1.0):
        np.testing.assert_allclose(along(a, b, bend, t), curve(t))
