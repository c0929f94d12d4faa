"""One state of a process in a box of width one: points in the plane or on a line, pictures, codes, series.

Notation: a state is (n, *shape); what it is drawn as follows from the shape of the data and from its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unigen.plots.images import as_images, mosaic
from unigen.plots.style import COLOURS, FAINT, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES = 5  # of which curves are drawn
LEAST = 16  # numbers in a vector that is shown as a picture
WHEEL = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#0072B2")
CODES = "PuOr"  # of latents that are no picture, 0 in the middle


class Look(NamedTuple):
    """How the states of a process are drawn, after its data.

    Args:
        kind: ``"points"``, ``"pictures"`` or ``"series"``.
        shape: Event shape of the data.
        picture: (H, W) of flattened images, or None for squares.
        limits: Values of pictures drawn as paper and as ink.
        columns: Most states drawn each way.
        tall: Pictures drawn of each state; 1 if it is not drawn as pictures.
    """

    kind: str
    shape: tuple[int, ...]
    picture: tuple[int, int] | None
    limits: tuple[float, float]
    columns: int
    tall: int


def kind_of_data(shape: Sequence[int], picture: tuple[int, int] | None = None) -> str:
    """Say how examples of an event shape are drawn: ``"points"``, ``"pictures"`` or ``"series"``.

    Example:
        >>> [kind_of_data(shape) for shape in ((2,), (64,), (1, 28, 28), (50, 1))]
        ['points', 'pictures', 'pictures', 'series']
    """
    if picture is not None or (len(shape) == 3 and shape[0] in (1, 3)):
        return "pictures"
    if len(shape) == 1 and shape[0] >= LEAST and math.isqrt(shape[0]) ** 2 == shape[0]:
        return "pictures"
    if len(shape) == 2:
        return "pictures" if min(shape) > 3 else "series"
    return "points"


class Frame(NamedTuple):
    """The window of a state's coordinates that is drawn in the box, the same scale for all coordinates.

    Args:
        centre: Middle of the window, (2,).
        half: Half its side.
    """

    centre: Tensor
    half: float

    @classmethod
    def around(cls, points: Tensor) -> Frame:
        """Choose the window that holds points (N, 2), but for the outermost of many, with a margin."""
        low, high = (torch.quantile(points, q, dim=0) for q in (0.005, 0.995))
        return cls((low + high) / 2, 0.6 * max(float((high - low).max()), 1e-6))

    def place(self, points: Tensor) -> Tensor:
        """Return positions in the unit box, (N, 2); what lies outside the window stands at its edge."""
        return ((points - self.centre) / (2 * self.half) + 0.5).clamp(0.0, 1.0)


def as_points(state: Tensor) -> Tensor:
    """Return a state as points (n, 2): its first two coordinates; on a line, 0 and its one coordinate.

    Equal values on a line, as those of a class, are spread to both sides.
    """
    flat = state.detach().cpu().double().reshape(state.shape[0], -1)
    if flat.shape[1] > 1:
        return flat[:, :2]
    values, group = flat[:, 0].unique(return_inverse=True)
    across = torch.zeros_like(flat[:, 0])
    if values.shape[0] <= max(1, flat.shape[0] // 4):
        for k in range(values.shape[0]):
            at = (group == k).nonzero()[:, 0]
            across[at] = torch.linspace(-1, 1, at.shape[0] + 2, dtype=torch.float64)[1:-1]
    return torch.stack([across, flat[:, 0]], 1)


def on_a_line(state: Tensor) -> bool:
    """Whether every point of a state is one number."""
    return state[0].numel() == 1


def colours_of(data: Tensor) -> np.ndarray:
    """Return a colour (n, 3) for each datum, by where it lies: by direction from the middle, or by value on a line."""
    from matplotlib.colors import LinearSegmentedColormap

    points = as_points(data)
    if on_a_line(data):
        rank = points[:, 1].argsort().argsort().double() / max(1, data.shape[0] - 1)
        return LinearSegmentedColormap.from_list("line", WHEEL[:-2])(rank.numpy())[:, :3]
    centred = points - points.median(0).values
    centred = centred / centred.abs().mean(0).clamp_min(1e-12)
    angle = torch.atan2(centred[:, 1], centred[:, 0]) / (2 * math.pi) + 0.5
    return LinearSegmentedColormap.from_list("wheel", WHEEL)(angle.numpy())[:, :3]


def draw_state(axes: Axes, state: Tensor, frame: Frame, left: float, look: Look, colours: np.ndarray) -> None:
    """Draw a state in the box that begins at ``left``."""
    if look.kind == "pictures":
        _pictures(axes, state[: look.tall], left, look)
    elif look.kind == "series" and state.dim() == 3:
        _series(axes, state, left)
    else:
        _points(axes, state, frame, left, colours)


def _points(axes: Axes, state: Tensor, frame: Frame, left: float, colours: np.ndarray) -> None:
    """Draw a scatter, or marks on a vertical line."""
    from matplotlib.patches import Rectangle

    x, y = (placed(state, frame) + torch.tensor([left, 0.0])).T.numpy()
    size = 9.0 if state.shape[0] <= 200 else max(2.0, 9.0 * (200 / state.shape[0]) ** 0.5)
    if on_a_line(state):
        axes.plot([left + 0.5] * 2, [0.0, 1.0], color=FAINT, linewidth=1.0, zorder=1)
        if not as_points(state)[:, 0].any():
            axes.scatter(x, y, c=colours, marker="_", s=60.0, linewidths=0.9, alpha=0.8, zorder=3)
            return
    else:
        box = Rectangle((left, 0.0), 1.0, 1.0, facecolor="none", edgecolor=FAINT, linewidth=0.8, zorder=1)
        axes.add_patch(box)
    axes.scatter(x, y, c=colours, s=size, alpha=0.85, linewidths=0, zorder=3)


def placed(state: Tensor, frame: Frame) -> Tensor:
    """Return where the points of a state stand in the unit box, (n, 2)."""
    points = as_points(state)
    at = frame.place(points)
    return torch.stack([0.5 + 0.3 * points[:, 0], at[:, 1]], 1) if on_a_line(state) else at


def _pictures(axes: Axes, state: Tensor, left: float, look: Look) -> None:
    """Draw a column of pictures in a box; of a state of another shape than the data, its numbers as strips."""
    n, shape = state.shape[0], tuple(state.shape[1:])
    if shape == look.shape:
        images = as_images(state, look.picture if len(shape) == 1 else None)
        canvas = mosaic(((images - look.limits[0]) / (look.limits[1] - look.limits[0])).clamp(0, 1), 1)
        canvas = canvas.nan_to_num(1.0) if canvas.dim() == 3 else canvas
        axes.imshow(canvas.numpy(), extent=(left, left + 1.0, 0.0, float(n)), aspect="auto", vmin=0, vmax=1)
        return
    most = max(3.0, float(state.abs().max()))
    for i, row in enumerate(state.detach().cpu().float()):
        middle = n - i - 0.5
        if row.numel() == 1:
            axes.text(left + 0.5, middle, f"{float(row):g}", ha="center", va="center", fontsize=9)
            continue
        half = 0.42 if row.dim() == 2 else 0.12
        block = row if row.dim() == 2 else row.reshape(1, -1)
        extent = (left + 0.02, left + 0.98, middle - half, middle + half)
        axes.imshow(block.numpy(), extent=extent, aspect="auto", cmap=CODES, vmin=-most, vmax=most)


def _series(axes: Axes, state: Tensor, left: float) -> None:
    """Draw the first coordinate of a few series as curves over the box."""
    rows = state[:SERIES, :, 0].detach().cpu().double()
    low, high = float(rows.min()), float(rows.max())
    t = np.linspace(left, left + 1.0, rows.shape[1])
    for i, row in enumerate(rows):
        y = 0.05 + 0.9 * (row - low) / max(high - low, 1e-9)
        axes.plot(t, y.numpy(), color=COLOURS[i % len(COLOURS)], linewidth=0.9)
    axes.plot([left, left + 1.0], [0.0, 0.0], color=GREY, linewidth=0.6)
