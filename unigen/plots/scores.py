"""Scores of candidates, such as numbers of latents, with the chosen one marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unigen.errors import EmptyDataError
from unigen.plots.style import COLOURS, GREY, figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def scores(
    candidates: Sequence[int],
    values: Sequence[float],
    chosen: int,
    *,
    stderr: Sequence[float] | None = None,
    title: str = "",
    xlabel: str = "latents",
    ylabel: str = "score (nats an example)",
) -> Figure:
    """Draw finite scores against whole-numbered candidates, with a vertical line at the chosen one.

    Args:
        candidates: Whole numbers.
        values: A score each; those that are not finite are left out.
        chosen: The candidate to mark.
        stderr: Standard errors, drawn as bars.
        title: Above the axes.
        xlabel: What a candidate is.
        ylabel: What a score is, with its unit.

    Returns:
        A figure with one axes.

    Raises:
        EmptyDataError: No score is finite.

    Example:
        >>> scores([1, 2, 3], [-3.0, -1.0, -2.0], 2).axes[0].get_xlabel()
        'latents'
    """
    from matplotlib.ticker import MaxNLocator

    kept = [i for i, value in enumerate(values) if math.isfinite(value)]
    if not kept:
        raise EmptyDataError(site="values", got="no finite score", expected="at least one")
    x, y = [candidates[i] for i in kept], [values[i] for i in kept]
    with style():
        fig = figure(4.6, 3.0)
        axes = fig.subplots()
        axes.axvline(chosen, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
        if stderr is None:
            axes.plot(x, y, color=COLOURS[0], marker="o", markersize=3)
        else:
            axes.errorbar(x, y, [stderr[i] for i in kept], color=COLOURS[0], marker="o", markersize=3)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set_title(title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return fig
