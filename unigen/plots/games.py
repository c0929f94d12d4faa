"""Figures of adversarial training: the critic's values, both gradient norms, and the coverage of known modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from unigen.errors import EmptyDataError
from unigen.plots.style import COLOURS, GREY, figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = Sequence[tuple[int, float]]
PANELS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    # (label of the axis, curves, whether it is logarithmic)
    ("critic", ("critic on data", "critic on draws"), False),
    ("gradient norm", ("critic gradient norm", "generator gradient norm"), True),
    ("loss", ("critic", "generator"), False),
    ("modes", ("modes",), False),
    ("share, nats", ("high quality", "mode divergence"), False),
)


def game_figure(history: Mapping[str, Curve], title: str = "") -> Figure:
    """Draw what a record holds about a game: a panel for each kind of curve that is there.

    Args:
        history: Curves by name, (step, value) pairs, as ``record.history`` has them; others are left out.
        title: Above the panels.

    Returns:
        A figure with one to five axes.

    Raises:
        EmptyDataError: The record has no curve of a game.

    Example:
        >>> fig = game_figure({"critic on data": [(1, 0.2), (2, 0.4)], "critic on draws": [(1, 0.1), (2, -0.3)]})
        >>> fig.axes[0].get_ylabel()
        'critic'
    """
    from matplotlib.ticker import MaxNLocator

    panels = [
        (label, {name: history[name] for name in names if history.get(name)}, log)
        for label, names, log in PANELS
    ]
    panels = [panel for panel in panels if panel[1]]
    if not panels:
        raise EmptyDataError(site="history", got="no curve of a game", expected="GameWatch or ModeCoverage")
    with style():
        fig = figure(5.4, 0.7 + 1.3 * len(panels))
        for axes, (label, curves, log) in zip(
            fig.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0], panels, strict=True
        ):
            for i, (name, curve) in enumerate(curves.items()):
                steps, values = zip(*curve, strict=True)
                axes.plot(steps, values, color=COLOURS[i % len(COLOURS)], label=name, linewidth=1.1)
            axes.set_yscale("log" if log else "linear")
            axes.set_ylabel(label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if len(curves) > 1:
                axes.legend(loc="upper right")
        fig.axes[0].set_title(title)
        fig.axes[-1].set_xlabel("step")
    return fig


def coverage_figure(counts: Sequence[float], draws: int) -> Figure:
    """Draw how many high-quality draws each mode got, in decreasing order, beside an even share.

    Args:
        counts: By mode.
        draws: How many draws in all.

    Returns:
        A figure with one axes.

    Raises:
        EmptyDataError: No modes.

    Example:
        >>> coverage_figure([3, 0, 5], 10).axes[0].get_xlabel()
        'mode, by rank'
    """
    if len(counts) == 0:
        raise EmptyDataError(site="counts", got="no modes", expected="at least one")
    with style():
        fig = figure(4.6, 2.4)
        axes = fig.subplots()
        axes.bar(range(1, len(counts) + 1), sorted(counts, reverse=True), color=COLOURS[0])
        axes.axhline(draws / len(counts), color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_xlabel("mode, by rank")
        axes.set_ylabel("draws of high quality")
    return fig
