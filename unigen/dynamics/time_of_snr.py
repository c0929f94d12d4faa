"""The time at which a schedule has a given log SNR: the inverse of `Schedule.log_snr`."""

from __future__ import annotations

import torch
from torch import Tensor

from unigen.dynamics.schedule import Schedule
from unigen.errors import ArgumentError

ROUNDS, PARTS = 14, 16  # 16^14 parts of the unit interval: past the resolution of float64


@torch.no_grad()
def time_of(schedule: Schedule, log_snr: Tensor) -> Tensor:
    """Return the times at which a schedule has the given log SNR.

    t = log_snr⁻¹(value), in closed form, or by 16-fold bisection since the log SNR falls strictly.

    Args:
        schedule: Signal and noise levels.
        log_snr: Values between those at t = 1 and t = 0, any shape.

    Returns:
        Times in [0, 1], the shape of log_snr, in its type; computed in float64.

    Raises:
        ArgumentError: A value is not one that the schedule takes.

    Example:
        >>> from unigen.dynamics.schedule import LogLinearSNR
        >>> time_of(LogLinearSNR(), torch.tensor([9.0, 1.0, -7.0])).round(decimals=6)
        tensor([0.0000, 0.5000, 1.0000])
    """
    value = log_snr.double()
    high, low = (float(schedule.log_snr(value.new_full((1,), end))) for end in (0.0, 1.0))
    slack = (1e-5 * (1.0 + value.abs())).nan_to_num(posinf=0.0)
    if not bool(((value <= high + slack) & (value >= low - slack)).all()):
        raise ArgumentError(
            "the schedule never has this log SNR", program=type(schedule).__name__, site="log_snr",
            got=f"[{float(value.min()):g}, {float(value.max()):g}]", expected=f"[{low:g}, {high:g}]",
        )  # fmt: skip
    known = schedule.time_at(value)
    if known is not None:
        return known.clamp(0.0, 1.0).to(log_snr.dtype)
    value, rows = torch.unique(value, return_inverse=True)  # a batch often stands at one time
    return bisect(schedule, value, torch.zeros_like(value), 1.0, ROUNDS, PARTS)[rows].to(log_snr.dtype)


@torch.no_grad()
def bisect(
    schedule: Schedule, log_snr: Tensor, lower: Tensor, width: float, rounds: int, parts: int
) -> Tensor:
    """Return the times at which a schedule has the given log SNR, without a look at them: it can be traced.

    Args:
        schedule: Signal and noise levels.
        log_snr: Values, any shape, float64.
        lower: Start of an interval that holds each time, the shape of log_snr.
        width: Length of these intervals.
        rounds: How often they are divided.
        parts: Into how many.

    Returns:
        Times to within width / parts^rounds, the shape of log_snr.
    """
    inner = torch.arange(1, parts, dtype=torch.float64, device=log_snr.device)
    for _ in range(rounds):
        width /= parts
        later = schedule.log_snr(lower.unsqueeze(-1) + inner * width) > log_snr.unsqueeze(-1)
        lower = lower + later.sum(-1) * width
    return lower + 0.5 * width
