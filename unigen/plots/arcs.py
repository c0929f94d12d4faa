"""The curves that edges of a graph are drawn as: straight lines, and arcs where edges are parallel."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from unigen.plots.layout import Point

Edge = tuple[Hashable, Hashable, str]  # its ends, and what is written on it


def bends(edges: Sequence[Edge]) -> list[float]:
    """Give parallel edges different bends, symmetric about the straight line.

    Args:
        edges: The edges, loops among them.

    Returns:
        For each the bend of its curve, as :func:`along` takes it; 0 is straight.

    Example:
        >>> bends([("PPCA", "VAE", "1"), ("VAE", "GAN", "2"), ("VAE", "PPCA", "33")])
        [-0.25, 0.0, -0.25]
    """
    pairs = [frozenset((a, b)) for a, b, _ in edges]
    found = []
    for i, pair in enumerate(pairs):
        count, index = pairs.count(pair), pairs[:i].count(pair)
        sign = (
            1.0 if str(edges[i][0]) <= str(edges[i][1]) else -1.0
        )  # the same side whichever end comes first
        found.append(sign * 0.5 * (index - (count - 1) / 2))
    return found


def along(a: Point, b: Point, bend: float, t: float) -> Point:
    """Find the point at t on the quadratic Bézier curve that matplotlib's arc3 draws.

    Args:
        a: Where the curve starts.
        b: Where it ends.
        bend: Distance of its control point from the middle of ab, in lengths of ab.
        t: From 0 to 1.

    Returns:
        The point.
    """
    control = ((a[0] + b[0]) / 2 + bend * (b[1] - a[1]), (a[1] + b[1]) / 2 - bend * (b[0] - a[0]))
    x, y = ((1 - t) ** 2 * p + 2 * t * (1 - t) * c + t * t * q for p, c, q in zip(a, control, b, strict=True))
    return x, y
