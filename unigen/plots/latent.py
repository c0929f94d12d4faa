"""Maps of a latent space, or of any vectors: a scatter in two dimensions, coloured by label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.errors import ArgumentError, EmptyDataError, ShapeError
from unigen.plots.style import COLOURS, INK, figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def principal_plane(z: Tensor) -> tuple[Tensor, Tensor]:
    """Project onto the two principal components.

    Args:
        z: Shape (N, D), D ≥ 2.

    Returns:
        Coordinates of shape (N, 2), each component's largest loading made positive, and the shares of variance, (2,).
    """
    centred = z - z.mean(0)
    u, s, vt = torch.linalg.svd(centred, full_matrices=False)
    largest = vt[:2].abs().argmax(1, keepdim=True)
    sign = vt[:2].gather(1, largest).sign()[:, 0]
    return u[:, :2] * s[:2] * sign, s[:2].square() / s.square().sum()


def _name_classes(axes: Axes, points: Tensor, labels: Tensor, names: Sequence[str]) -> None:
    """Write each class's name at its medoid-like centre, over a white halo, so that colour is not needed to read."""
    from matplotlib.patheffects import withStroke

    for k in map(int, labels.unique()):
        x, y = points[labels == k].median(0).values.tolist()
        axes.text(
            x,
            y,
            names[k],
            ha="center",
            va="center",
            fontsize=11,
            fontweight="bold",
            color=INK,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def latent_map(
    z: Tensor,
    labels: Tensor | None = None,
    names: Sequence[str] | None = None,
    title: str = "",
    size: float = 4.2,
) -> Figure:
    """Draw vectors in the plane: as they are when D = 2, by their first two principal components when D > 2.

    Args:
        z: Shape (N, D), D ≥ 2.
        labels: Integer labels (N,), 0 or more; one colour each, and the name at each class's median.
        names: Name of each label; the numbers when None.
        title: Above the map.
        size: Height and width in inches.

    Returns:
        A figure with one axes, equally scaled.

    Raises:
        EmptyDataError: If there are fewer than two vectors.
        ShapeError: If z is no matrix of two or more columns, or labels do not match.
        ArgumentError: If there is a label without a name, or a negative one.

    Example:
        >>> latent_map(torch.eye(5)).axes[0].get_xlabel()
        'PC 1 (25 % of variance)'
    """
    if z.dim() != 2 or z.shape[1] < 2:
        raise ShapeError(site="z", got=tuple(z.shape), expected="(N, D) with D ≥ 2")
    if z.shape[0] < 2:
        raise EmptyDataError(site="z", got=tuple(z.shape), expected="at least two vectors")
    if labels is not None and labels.shape != z.shape[:1]:
        raise ShapeError(site="labels", got=tuple(labels.shape), expected=(z.shape[0],))
    points = z.detach().to("cpu", torch.float64)
    axis_labels = ["z₁", "z₂"]
    if z.shape[1] > 2:
        points, share = principal_plane(points)
        axis_labels = [f"PC {i + 1} ({100 * float(s):.0f} % of variance)" for i, s in enumerate(share)]
    k = torch.zeros(z.shape[0], dtype=torch.long) if labels is None else labels.detach().to("cpu", torch.long)
    named = [str(i) for i in range(int(k.max()) + 1)] if names is None else list(names)
    if int(k.min()) < 0 or int(k.max()) >= len(named):
        raise ArgumentError(
            site="labels", got=f"{int(k.min())} … {int(k.max())}", expected=f"0 … {len(named) - 1}"
        )
    with style():
        fig = figure(size, size)
        axes = fig.add_subplot()
        order = torch.randperm(z.shape[0], generator=torch.Generator().manual_seed(0))  # no class lies on top
        colours = [COLOURS[int(i) % len(COLOURS)] for i in k[order]]
        marker = 14.0 if z.shape[0] <= 1000 else 14.0 * (1000 / z.shape[0]) ** 0.5
        x, y = points[order].T.numpy()
        axes.scatter(x, y, s=marker, c=colours, alpha=0.65, linewidths=0)
        if labels is not None:
            _name_classes(axes, points, k, named)
        axes.set_xlabel(axis_labels[0])
        axes.set_ylabel(axis_labels[1])
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_title(title)
    return fig
