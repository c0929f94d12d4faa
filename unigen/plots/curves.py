"""Training curves: losses against steps, with references such as an entropy or a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from unigen.errors import ArgumentError, EmptyDataError
from unigen.plots.style import COLOURS, GREY, figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = float | tuple[int, float]
LOGARITHMIC = ("gradient norm", "learning rate")


def _points(name: str, values: Sequence[Point]) -> tuple[list[float], list[float]]:
    """Split a curve of values, or of (step, value) pairs, into steps and values."""
    pairs = [v if isinstance(v, tuple) else (i, v) for i, v in enumerate(values)]
    if not pairs:
        raise EmptyDataError(site=name, got="no values", expected="at least one")
    return [float(step) for step, _ in pairs], [float(value) for _, value in pairs]


def moving_average(values: Sequence[float], window: int) -> list[float]:
    """Average each value with its neighbours, ⌊window/2⌋ on either side, fewer at the ends (symmetrically).

    Args:
        values: The curve.
        window: Number of values averaged; 1 changes nothing.

    Returns:
        As many values.

    Example:
        >>> moving_average([0.0, 3.0, 6.0, 0.0], window=3)
        [0.0, 3.0, 3.0, 0.0]
    """
    total = [0.0]
    for value in values:
        total.append(total[-1] + value)
    averaged = []
    for i in range(len(values)):
        half = min(window // 2, i, len(values) - 1 - i)
        averaged.append((total[i + half + 1] - total[i - half]) / (2 * half + 1))
    return averaged


def _draw(axes: Axes, curves: Mapping[str, Sequence[Point]], smooth: int) -> None:
    """Draw curves, each faint as measured and solid as smoothed, against whole steps."""
    from matplotlib.ticker import MaxNLocator

    for i, (name, values) in enumerate(curves.items()):
        steps, raw = _points(name, values)
        few, colour = len(raw) < 3 * smooth, COLOURS[i % len(COLOURS)]
        if smooth > 1 and not few:
            axes.plot(steps, raw, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(
            steps,
            raw if few else moving_average(raw, smooth),
            color=colour,
            label=name,
            marker="o" if len(raw) <= 30 else None,
            markersize=3,
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _references(axes: Axes, references: Mapping[str, float]) -> None:
    """Draw horizontal lines, each labelled at its left end, where a falling loss leaves room."""
    for name, value in references.items():
        axes.axhline(value, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.annotate(
            name,
            (0.01, value),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="left",
            color=GREY,
            fontsize=8,
        )


def training_curves(
    history: Mapping[str, Sequence[Point]],
    references: Mapping[str, float] | None = None,
    ylabel: str = "loss (nats)",
    xlabel: str = "step",
    smooth: int = 1,
    log: bool = False,
    title: str = "",
) -> Figure:
    """Draw the curves of a run in one panel; a gradient norm or learning rate gets a logarithmic panel of its own.

    Args:
        history: Curves by name: values, one a step, or (step, value) pairs.
        references: Horizontal lines by name, in the units of the loss (an entropy, a closed form, a baseline).
        ylabel: What the first panel shows, with its unit.
        xlabel: What a step is.
        smooth: Window of a moving average; the raw curve stays visible behind it.
        log: Whether the first panel is logarithmic.
        title: Above the panels.

    Returns:
        A figure with one axes, or one more for each logarithmic curve.

    Raises:
        EmptyDataError: If there are no curves, or one has no values.
        ArgumentError: If ``smooth`` is not positive.

    Example:
        >>> fig = training_curves({"train": [3.0, 2.0, 1.5]}, references={"entropy": 1.42})
        >>> fig.axes[0].get_ylabel()
        'loss (nats)'
    """
    if not history:
        raise EmptyDataError(site="history", got="no curves", expected="at least one")
    if smooth < 1:
        raise ArgumentError(site="smooth", got=smooth, expected="1 or more")
    main = {name: values for name, values in history.items() if name not in LOGARITHMIC}
    others = {name: values for name, values in history.items() if name in LOGARITHMIC}
    ratios = [3.0] * bool(main) + [1.2] * len(others)
    with style():
        fig = figure(5.4, 0.5 + 0.95 * sum(ratios))
        panels = fig.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
        if main:
            _draw(panels[0], main, smooth)
            _references(panels[0], references or {})
            panels[0].set_ylabel(ylabel)
            panels[0].set_yscale("log" if log else "linear")
            if len(main) > 1:
                panels[0].legend(loc="upper right")
        for axes, (name, values) in zip(panels[len(panels) - len(others) :], others.items(), strict=True):
            _draw(axes, {name: values}, smooth)
            axes.set_yscale("log")
            axes.set_ylabel(name)
        panels[0].set_title(title)
        panels[-1].set_xlabel(xlabel)
        panels[-1].margins(x=0.02)
    return fig
