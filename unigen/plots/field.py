"""A vector field in the plane, such as a score, drawn as arrows over the contours of a density."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.errors import ArgumentError, ShapeError
from unigen.plots.style import COLOURS, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONTOURS = 81  # points of the finer grid along each axis


def plane_points(half: tuple[float, float], count: tuple[int, int]) -> Tensor:
    """Return a grid of points about the origin, the second coordinate fastest, shape (count_1 · count_2, 2).

    Example:
        >>> plane_points((1.0, 1.0), (2, 3))[:3].tolist()
        [[-1.0, -1.0], [-1.0, 0.0], [-1.0, 1.0]]
    """
    return torch.cartesian_prod(*(torch.linspace(-h, h, n) for h, n in zip(half, count, strict=True)))


def score_field(
    axes: Axes,
    score: Callable[[Tensor], Tensor],
    *,
    half: float | tuple[float, float] = 3.0,
    arrows: int = 15,
    length: float | None = None,
    log_prob: Callable[[Tensor], Tensor] | None = None,
    colour: str = COLOURS[0],
) -> Axes:
    """Draw the arrows of a field on axes, and contours of a density below them.

    Args:
        axes: Where.
        score: Maps points (N, 2) to vectors (N, 2), such as ``program.score``.
        half: Half the width and half the height of the window about the origin.
        arrows: Number of arrows along the wider side.
        length: Length of the arrow of a vector of norm 1, in units of x, so that several panels may share it; by
            default the longest arrow is as long as one and a half steps of the grid.
        log_prob: Maps points (N, 2) to log-densities (N,), known up to a constant, for the contours.
        colour: Of the arrows.

    Returns:
        The same axes.

    Raises:
        ArgumentError: ``arrows`` below 2, or a window or length that is not positive.
        ShapeError: The vectors are not of the shape of the points.

    Example:
        >>> from unigen.plots.style import figure
        >>> axes = score_field(figure(3, 3).subplots(), lambda x: -x, log_prob=lambda x: -0.5 * x.square().sum(-1))
        >>> [float(v) for v in axes.get_xlim()]
        [-3.0, 3.0]
    """
    width, height = (half, half) if isinstance(half, (int, float)) else half
    if arrows < 2 or not min(width, height) > 0 or (length is not None and not length > 0):
        got = f"arrows={arrows}, half={half}, length={length}"
        raise ArgumentError(site="field", got=got, expected="two arrows or more, positive sizes")
    step = 2 * max(width, height) / arrows
    inside = (width - step / 2, height - step / 2)
    x = plane_points(inside, (max(2, round(2 * width / step)), max(2, round(2 * height / step))))
    vectors = score(x).detach()
    if vectors.shape != x.shape:
        raise ShapeError(
            "one vector a point", site="score", got=tuple(vectors.shape), expected=tuple(x.shape)
        )
    if log_prob is not None:
        at = plane_points((width, height), (CONTOURS, CONTOURS))
        density = log_prob(at).detach().double().softmax(0).reshape(CONTOURS, CONTOURS)
        grid = at.reshape(CONTOURS, CONTOURS, 2).movedim(-1, 0)
        axes.contour(grid[0].numpy(), grid[1].numpy(), density.numpy(), levels=6, colors=GREY, linewidths=0.7)
    longest = float(vectors.norm(dim=1).max())
    unit = 1.5 * step / max(longest, 1e-12) if length is None else length
    axes.quiver(
        *x.T.numpy(), *vectors.T.cpu().numpy(), color=colour, angles="xy", scale_units="xy", scale=1 / unit, width=0.004
    )  # fmt: skip
    axes.set(xlim=(-width, width), ylim=(-height, height), xlabel="x₁", ylabel="x₂", aspect="equal")
    return axes
