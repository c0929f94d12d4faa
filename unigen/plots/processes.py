"""Families as processes: a row each, from data to noise on the left and from noise to data on the right."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unigen.errors import ArgumentError, EmptyDataError
from unigen.plots.process_panels import (
    Frame,
    Look,
    as_points,
    colours_of,
    draw_state,
    kind_of_data,
    placed,
)
from unigen.plots.style import GREY, INK, bare, figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from unigen.evaluate.process_record import Process

STRIDE = 1.3  # from box to box, in widths of a box
TRAILS = 60  # points whose paths are drawn
BOX = 0.86  # width of a box, inches
LINE = 0.16  # height of a line of text, inches
LEGEND = (
    "A point has one colour all the way: that of its place among the data. Lines follow some of the points."
)
WRAP = 180  # characters of a line of text over a row


def process_figure(
    processes: Mapping[str, Process],
    *,
    shape: tuple[int, int] | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    columns: int = 5,
    pictures: int = 3,
    title: str = "",
) -> Figure:
    """Draw processes, as `unigen.process` returns them, one below the other.

    Points keep the colour of where they lie as data, and faint lines follow them from box to box; a latent of one
    dimension is a line, one of several is shown by its first two. Images are columns of pictures, and latents that are
    no image strips of colour. A process with another beside it takes two rows.

    Args:
        processes: By the name that is written at the row.
        shape: (H, W) of flattened images that are not square.
        limits: Values of images drawn as paper and as ink.
        columns: Most states shown each way, evenly spaced.
        pictures: Most images drawn of each state.
        title: Above.

    Returns:
        A figure with two axes a row: forward on the left, reverse on the right.

    Raises:
        EmptyDataError: There is no process.
        ArgumentError: columns < 2, pictures < 1, or limits that do not rise.

    References:
        Bond-Taylor et al., Deep generative modelling: a comparative review, 2022.

    Example:
        >>> import unigen as ug
        >>> pca = ug.PCA(2, latents=1)
        >>> _ = ug.fit(pca, torch.randn(50, 2))
        >>> fig = process_figure({"PCA": ug.process(pca, torch.randn(20, 2))})
        >>> [axes.get_xlabel() for axes in fig.axes]
        ['forward: one deterministic step', 'reverse: one deterministic step']
    """
    if not processes:
        raise EmptyDataError(site="processes", got="none", expected="at least one, by name")
    for name, value, least in (("columns", columns, 2), ("pictures", pictures, 1)):
        if value < least:
            raise ArgumentError(argument=name, got=value, expected=f"at least {least}")
    if not limits[0] < limits[1]:
        raise ArgumentError(argument="limits", got=limits, expected="(low, high) with low < high")
    rows = list(_rows(processes))
    looks = [_look(row, shape, limits, columns, pictures) for _, row in rows]
    heights = [
        BOX * look.tall + LINE * (4.3 + len(_sentence(row)))
        for look, (_, row) in zip(looks, rows, strict=True)
    ]
    with style():
        fig = figure(2 * columns * STRIDE * BOX + 1.4, sum(heights) + (0.4 if title else 0.1))
        grid = fig.add_gridspec(len(rows), 2, height_ratios=heights)
        for i, ((name, row), look) in enumerate(zip(rows, looks, strict=True)):
            left, right = (bare(fig.add_subplot(grid[i, j])) for j in (0, 1))
            _forward(left, row, look)
            _way(right, row.reverse, row.times.flip(0), _frames(row, look)[::-1], look)
            right.set_xlabel(f"reverse: {row.reverse_step}", fontsize=8.5)
            left.set_ylabel(
                name, rotation=0, ha="right", va="center", fontsize=10, fontweight="bold", color=INK
            )
            left.set_title("\n".join(_sentence(row)), fontsize=8, color=GREY)
        if title:
            fig.suptitle(title)
        if any(look.kind == "points" for look in looks):
            fig.supxlabel(LEGEND, fontsize=8, color=GREY)
    return fig


def _rows(processes: Mapping[str, Process]) -> Iterator[tuple[str, Process]]:
    """Every process, and below it the one beside it."""
    for name, each in processes.items():
        yield name, each
        if each.beside is not None:
            yield f"and its {each.beside.reverse_step}", each.beside


def _sentence(row: Process) -> list[str]:
    return textwrap.wrap(row.text, WRAP)


def _look(
    row: Process, picture: tuple[int, int] | None, limits: tuple[float, float], columns: int, pictures: int
) -> Look:
    shape = tuple(row.reverse[-1].shape[1:])
    fits = picture is not None and shape == (picture[0] * picture[1],)
    kind = kind_of_data(shape, picture if fits else None)
    tall = min(pictures, row.reverse[-1].shape[0]) if kind == "pictures" else 1
    return Look(kind, shape, picture if fits else None, limits, columns, tall)


def _forward(axes: Axes, row: Process, look: Look) -> None:
    """Draw the way from data to noise, or say why there is none."""
    axes.set_xlabel(f"forward: {row.forward_step or 'none'}", fontsize=8.5)
    if row.forward is not None:
        _way(axes, row.forward, row.times, _frames(row, look), look)
        return
    words = "\n".join(textwrap.wrap(row.no_forward or "no forward process", 44))
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=GREY, style="italic")
    _fit(axes, look)


def _fit(axes: Axes, look: Look) -> None:
    axes.set_xlim(-0.15, (look.columns - 1) * STRIDE + 1.15)
    axes.set_ylim(-0.1, look.tall + 0.22)
    axes.set_aspect("equal")


def _frames(row: Process, look: Look) -> list[Frame]:
    """The window of each state from data to noise: one for all where they are many and of one shape."""
    ways = [row.reverse[::-1]] + ([] if row.forward is None else [row.forward])
    if look.kind == "pictures":
        return [Frame(torch.zeros(2), 1.0)] * (row.steps + 1)
    states = [torch.cat([as_points(way[k]) for way in ways]) for k in range(row.steps + 1)]
    if row.steps > 1 and len({tuple(state.shape[1:]) for state in row.reverse}) == 1:
        return [Frame.around(torch.cat(states))] * len(states)
    return [Frame.around(state) for state in states]


def _way(axes: Axes, states: Sequence[Tensor], times: Tensor, frames: Sequence[Frame], look: Look) -> None:
    """Draw one way: boxes of some states, heads over them, and what leads from one to the next."""
    last, forward = len(states) - 1, float(times[0]) == 0.0
    drawn = sorted({round(i * last / (look.columns - 1)) for i in range(look.columns)})
    lefts = np.arange(last + 1) * ((look.columns - 1) * STRIDE / last)
    colours = colours_of(states[0] if forward else states[-1])
    if look.kind == "points":
        _trails(axes, states, frames, lefts, colours)
    for k in drawn:
        draw_state(axes, states[k], frames[k], float(lefts[k]), look, colours)
        head = _head(states[k], float(times[k]), look, "data" if forward else "draws")
        axes.text(float(lefts[k]) + 0.5, look.tall + 0.05, head, ha="center", fontsize=7.5, color=GREY)
    if look.kind != "points":
        for a, b in zip(drawn[:-1], drawn[1:], strict=True):
            tip, tail = (lefts[b] - 0.04, look.tall / 2), (lefts[a] + 1.04, look.tall / 2)
            axes.annotate("", tip, tail, arrowprops={"arrowstyle": "->", "color": GREY, "lw": 0.8})
    _fit(axes, look)


def _head(state: Tensor, time: float, look: Look, end: str) -> str:
    """What stands over a box; ``end`` at t = 0."""
    shape, of_many = tuple(state.shape[1:]), look.kind == "points" and state[0].numel() > 2
    if time == 0.0:
        head = end
    elif shape != look.shape:
        head = f"latent, {'×'.join(map(str, shape)) or '1'}"
    else:
        head = "noise" if time == 1.0 else f"t = {time:.2g}"
    return f"{head} (first two)" if of_many else head


def _trails(
    axes: Axes, states: Sequence[Tensor], frames: Sequence[Frame], lefts: np.ndarray, colours: np.ndarray
) -> None:
    """Draw faint lines that follow some points through all states."""
    from matplotlib.collections import LineCollection

    at = [placed(state, frame)[:TRAILS] for state, frame in zip(states, frames, strict=True)]
    paths = torch.stack(at, 1).numpy().copy()
    paths[..., 0] += lefts
    axes.add_collection(
        LineCollection(list(paths), colors=colours[:TRAILS], linewidths=0.5, alpha=0.3, zorder=2)
    )
