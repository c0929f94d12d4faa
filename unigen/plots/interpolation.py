"""What lies between pairs of examples: a row of images a pair, or a path in the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from unigen.errors import ShapeError
from unigen.plots.images import image_grid
from unigen.plots.style import COLOURS, figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def interpolation(
    path: Tensor,
    shape: tuple[int, int] | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    title: str = "",
    size: float = 0.45,
) -> Figure:
    """Draw interpolations, as `unigen.evaluate.interpolate` returns them.

    Args:
        path: Shape (K, N, *event): K points on the way of each of N pairs; vectors of length two are points in the
            plane, all others images.
        shape: (H, W) of flattened images; a square when None.
        limits: Values of images drawn as paper and as ink.
        title: Above.
        size: Width of an image, in inches.

    Returns:
        A figure with one axes: pairs from top to bottom, each from left to right; or N paths in the plane.

    Raises:
        ShapeError: The path has fewer than three dimensions.

    Example:
        >>> import torch
        >>> interpolation(torch.rand(7, 3, 64)).axes[0].images[0].get_array().shape
        (26, 62)
    """
    if path.dim() < 3:
        raise ShapeError(site="path", got=tuple(path.shape), expected="(K, N, *event)")
    if tuple(path.shape[2:]) != (2,):
        return image_grid(path.transpose(0, 1).flatten(0, 1), shape, path.shape[0], limits, title, size)
    points = path.detach().cpu().double()
    with style():
        fig = figure(4.2, 4.2)
        axes = fig.add_subplot()
        for i in range(points.shape[1]):
            x, y = points[:, i].T.numpy()
            axes.plot(x, y, color=COLOURS[i % len(COLOURS)], marker="o", markersize=3)
        axes.set_xlabel("x₁")
        axes.set_ylabel("x₂")
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_title(title)
    return fig
