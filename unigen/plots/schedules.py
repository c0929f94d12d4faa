"""Schedules side by side: log SNR against time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from unigen.dynamics.schedule import Schedule
from unigen.errors import EmptyDataError
from unigen.plots.style import COLOURS, GREY, figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 400


def log_snr_curves(schedules: Mapping[str, Schedule], title: str = "") -> Figure:
    """Draw log SNR = log alpha²/sigma² of several schedules against time, and how fast it falls.

    Two schedules with the same ends differ by a change of time alone: the bound of a diffusion sees the ends, the
    variance of its estimate sees the rate.

    Args:
        schedules: By name.
        title: Above the panels.

    Returns:
        A figure with two axes: log SNR, and −d log SNR/dt = g²/sigma² on a logarithmic scale.

    Raises:
        EmptyDataError: There are no schedules.

    Example:
        >>> import unigen as ug
        >>> fig = log_snr_curves({"cosine": ug.VPCosine(), "linear rate": ug.VPLinear()})
        >>> [axes.get_ylabel() for axes in fig.axes]
        ['log SNR', '−d log SNR / dt']
    """
    if not schedules:
        raise EmptyDataError(site="schedules", got="none", expected="at least one")
    t = torch.linspace(0.0, 1.0, POINTS + 2, dtype=torch.float64)[1:-1]
    with style():
        fig = figure(7.4, 3.2)
        left, right = fig.subplots(1, 2, sharex=True)
        for i, (name, schedule) in enumerate(schedules.items()):
            with torch.no_grad():
                level, rate = schedule.log_snr(t), schedule.diffusion_squared(t) / schedule.sigma(t).square()
            left.plot(t, level, color=COLOURS[i % len(COLOURS)], label=name)
            right.plot(t, rate, color=COLOURS[i % len(COLOURS)])
        left.axhline(0.0, color=GREY, linewidth=0.8, linestyle=":")
        right.set_yscale("log")
        left.set_ylabel("log SNR")
        right.set_ylabel("−d log SNR / dt")
        for axes in (left, right):
            axes.set_xlabel("time t, data to noise")
        left.legend()
        left.set_title(title)
    return fig
