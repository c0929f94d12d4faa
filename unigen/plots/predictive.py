"""Predictive checks: histograms of replicated statistics with the observed one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from unigen.errors import EmptyDataError
from unigen.plots.style import COLOURS, GREY, figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def replicate_figure(replicated: Mapping[str, Sequence[float]], observed: Mapping[str, float]) -> Figure:
    """Draw one histogram a statistic, the observed value as a line.

    Args:
        replicated: Statistics of replicated data sets, by name.
        observed: That of the data, by the same names.

    Returns:
        A figure with one axes a statistic.

    Raises:
        EmptyDataError: No statistics.

    Example:
        >>> len(replicate_figure({"mean": [0.0, 1.0, 2.0]}, {"mean": 1.5}).axes)
        1
    """
    if not replicated:
        raise EmptyDataError(site="replicated", got="no statistics", expected="at least one")
    with style():
        fig = figure(2.2 * len(replicated), 2.0)
        panels = fig.subplots(1, len(replicated), squeeze=False)[0]
        for axes, (name, values) in zip(panels, replicated.items(), strict=True):
            axes.hist(values, bins=min(20, max(1, len(values) // 5)), color=GREY, alpha=0.6)
            axes.axvline(observed[name], color=COLOURS[1])
            axes.set_title(name)
            axes.set_yticks([])
    return fig
