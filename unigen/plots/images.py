"""Pictures of examples: a grid of samples, and reconstructions beneath their originals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.errors import ArgumentError, EmptyDataError, ShapeError
from unigen.plots.style import bare, figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def as_images(x: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
    """Bring examples to (N, height, width) or, with three channels, (N, height, width, 3).

    Args:
        x: Shape (N, D), (N, H, W), (N, 1, H, W) or (N, 3, H, W).
        shape: (H, W) of flattened images; a square when None.

    Returns:
        Images as float tensors on the CPU.

    Raises:
        EmptyDataError: If there are none.
        ShapeError: If the shape is no image.
    """
    if x.dim() == 0 or x.shape[0] == 0:
        raise EmptyDataError(site="x", got=tuple(x.shape), expected="at least one image")
    x = x.detach().to("cpu", torch.float32)
    if x.dim() == 2:
        side = math.isqrt(x.shape[1])
        height, width = shape or (side, side)
        if height * width != x.shape[1]:
            raise ShapeError(
                site="x", got=tuple(x.shape), expected=f"(N, {height * width})", hint="shape=(height, width)"
            )
        return x.reshape(-1, height, width)
    if x.dim() == 4 and x.shape[1] in (1, 3):
        return x[:, 0] if x.shape[1] == 1 else x.movedim(1, -1)
    if x.dim() == 3:
        return x
    raise ShapeError(site="x", got=tuple(x.shape), expected="(N, D), (N, H, W), (N, 1, H, W) or (N, 3, H, W)")


def mosaic(images: Tensor, columns: int, gap: int = 1) -> Tensor:
    """Tile images row by row, with NaN (drawn as background) between and after them.

    Args:
        images: Shape (N, H, W) or (N, H, W, 3).
        columns: Images a row.
        gap: Pixels between neighbours.

    Returns:
        Shape (rows (H + gap) − gap, columns (W + gap) − gap) or with 3 appended.
    """
    n, height, width = images.shape[:3]
    rows = math.ceil(n / columns)
    canvas = torch.full(
        (rows * (height + gap), columns * (width + gap), *images.shape[3:]), math.nan, dtype=images.dtype
    )
    for i in range(n):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        canvas[top : top + height, left : left + width] = images[i]
    return canvas[: rows * (height + gap) - gap, : columns * (width + gap) - gap]


def _draw(canvas: Tensor, limits: tuple[float, float], height: float, width: float) -> Figure:
    """Show a mosaic in bare axes of the given size in inches; values outside the limits are clipped."""
    low, high = limits
    if not low < high:
        raise ArgumentError(site="limits", got=limits, expected="(low, high) with low < high")
    fig = figure(width, height)
    axes = bare(fig.add_subplot())
    if canvas.dim() == 3:
        canvas = ((canvas - low) / (high - low)).clamp(0, 1).nan_to_num(1.0)
    axes.imshow(canvas.numpy(), vmin=low, vmax=high, aspect="equal")
    return fig


def image_grid(
    x: Tensor,
    shape: tuple[int, int] | None = None,
    columns: int | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    title: str = "",
    size: float = 0.45,
) -> Figure:
    """Draw images in a grid, row by row.

    Args:
        x: Shape (N, D), (N, H, W), (N, 1, H, W) or (N, 3, H, W).
        shape: (H, W) of flattened images; a square when None.
        columns: Images a row; about √N when None.
        limits: Values drawn as paper and as ink; values outside are clipped.
        title: Above the grid.
        size: Width of an image, in inches.

    Returns:
        A figure with one image, the mosaic.

    Example:
        >>> image_grid(torch.rand(10, 64)).axes[0].images[0].get_array().shape
        (26, 35)
    """
    images = as_images(x, shape)
    columns = columns or math.ceil(math.sqrt(images.shape[0]))
    if columns < 1:
        raise ArgumentError(site="columns", got=columns, expected="1 or more")
    columns = min(columns, images.shape[0])
    canvas = mosaic(images, columns)
    width = columns * size + 0.1
    with style():
        fig = _draw(
            canvas, limits, width * canvas.shape[0] / canvas.shape[1] + (0.35 if title else 0.05), width
        )
        fig.axes[0].set_title(title)
    return fig


def reconstructions(
    originals: Tensor,
    reconstructed: Tensor | Mapping[str, Tensor],
    shape: tuple[int, int] | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    title: str = "",
    size: float = 0.45,
) -> Figure:
    """Draw originals in the first row and one row of reconstructions a model beneath.

    Args:
        originals: Shape (N, D), (N, H, W), (N, 1, H, W) or (N, 3, H, W).
        reconstructed: The same shape; or several, by the name written at the left of the row.
        shape: (H, W) of flattened images; a square when None.
        limits: Values drawn as paper and as ink; values outside are clipped.
        title: Above the rows.
        size: Width of an image, in inches.

    Returns:
        A figure with one image, the mosaic.

    Raises:
        ShapeError: If a row has another shape than the originals.
    """
    named = {"reconstructed": reconstructed} if isinstance(reconstructed, Tensor) else dict(reconstructed)
    rows = {"original": as_images(originals, shape)}
    for name, value in named.items():
        if value.shape != originals.shape:
            raise ShapeError(site=name, got=tuple(value.shape), expected=tuple(originals.shape))
        rows[name] = as_images(value, shape)
    n, height = rows["original"].shape[:2]
    canvas = mosaic(torch.cat(list(rows.values())), n)
    inches = n * size
    with style():
        tall = inches * canvas.shape[0] / canvas.shape[1] + (0.35 if title else 0.05)
        fig = _draw(canvas, limits, tall, inches + 0.1 + 0.075 * max(len(name) for name in rows))
        axes = fig.axes[0]
        axes.set_yticks([i * (height + 1) + (height - 1) / 2 for i in range(len(rows))], list(rows))
        axes.tick_params(axis="y", length=0)
        axes.set_title(title)
    return fig
