"""A map of the plane as a picture: a square grid and points, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from unigen.errors import EmptyDataError
from unigen.plots.style import COLOURS, GREY, figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike


def plane_grid(half: float = 2.0, lines: int = 9, points: int = 41) -> np.ndarray:
    """Return the lines of a square grid, vertical ones first, shape (2 · lines, points, 2).

    Example:
        >>> plane_grid(lines=3).shape
        (6, 41, 2)
    """
    fixed, along = np.meshgrid(
        np.linspace(-half, half, lines), np.linspace(-half, half, points), indexing="ij"
    )
    return np.concatenate([np.stack([fixed, along], -1), np.stack([along, fixed], -1)])


def warp_figure(panels: Mapping[str, tuple[ArrayLike, ArrayLike]], labels: Sequence[str] = ()) -> Figure:
    """Draw grids and points in panels side by side; vertical lines of the grid in blue, horizontal ones in orange.

    Args:
        panels: By title: lines (2L, P, 2) as of ``plane_grid``, mapped; and points (N, 2).
        labels: Below each panel.

    Returns:
        A figure with one axes a panel.

    Raises:
        EmptyDataError: If there are no panels.

    Example:
        >>> len(warp_figure({"noise": (plane_grid(), np.zeros((1, 2)))}).axes)
        1
    """
    if not panels:
        raise EmptyDataError(site="panels", got="no panels", expected="at least one")
    with style():
        fig = figure(2.9 * len(panels), 3.2)
        drawn = fig.subplots(1, len(panels), squeeze=False)[0]
        for i, (axes, (title, (lines, points))) in enumerate(zip(drawn, panels.items(), strict=True)):
            grid, cloud = np.asarray(lines), np.asarray(points)
            half = grid.shape[0] // 2
            for k, line in enumerate(grid):
                axes.plot(*line.T, color=COLOURS[0] if k < half else COLOURS[1], linewidth=0.8)
            axes.plot(*cloud.T, ".", color=GREY, markersize=2, alpha=0.6, zorder=1)
            axes.set(aspect="equal", title=title, xlabel=labels[i] if i < len(labels) else "")
            axes.grid(False)
    return fig
