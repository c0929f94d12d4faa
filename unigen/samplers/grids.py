"""At which times a sampler stops on its way from noise, t = 1, to data, t = start."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from unigen.dynamics.schedule import Schedule
from unigen.dynamics.time_of_snr import time_of
from unigen.errors import ArgumentError


class Grid(ABC):
    """A way to place K + 1 times between 1 and the start."""

    @abstractmethod
    def times(self, steps: int, schedule: Schedule, start: float) -> Tensor:
        """Place the times.

        Args:
            steps: K.
            schedule: Signal and noise levels.
            start: Smallest time.

        Returns:
            Times, strictly decreasing from 1, (K + 1,), float64.
        """

    def __repr__(self) -> str:
        """The call that builds it."""
        options = ", ".join(f"{k}={v!r}" for k, v in vars(self).items())
        return f"{type(self).__name__}({options})"


@final
class EqualTimes(Grid):
    """Steps of equal time: t_i = 1 − (1 − start) i / K.

    Example:
        >>> from unigen.dynamics.schedule import LogLinearSNR
        >>> EqualTimes().times(2, LogLinearSNR(), 0.0)
        tensor([1.0000, 0.5000, 0.0000], dtype=torch.float64)
    """

    def times(self, steps: int, schedule: Schedule, start: float) -> Tensor:
        """Equally spaced from 1 to start."""
        return torch.linspace(1.0, start, steps + 1, dtype=torch.float64)


def _at_snr(log_snr: Tensor, schedule: Schedule, start: float) -> Tensor:
    """Times of log SNRs, with the ends as they are."""
    inner = time_of(schedule, log_snr[1:-1])
    return torch.cat([inner.new_ones(1), inner, inner.new_full((1,), start)])


@torch.no_grad()
def _ends(schedule: Schedule, start: float) -> tuple[float, float]:
    """Log SNR at t = 1 and at the start.

    Raises:
        ArgumentError: One is infinite.
    """
    low, high = schedule.log_snr(torch.tensor([1.0, start], dtype=torch.float64)).tolist()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ArgumentError(
            "a grid of log SNRs needs finite ends", program=type(schedule).__name__,
            got=f"log SNR {low:g} at t = 1 and {high:g} at t = {start:g}", hint="ug.EqualTimes()",
        )  # fmt: skip
    return low, high


@final
class EqualLogSNR(Grid):
    """Steps of equal log SNR, whatever the schedule.

    References:
        Lu et al. 2022, DPM-Solver.
    """

    def times(self, steps: int, schedule: Schedule, start: float) -> Tensor:
        """Equally spaced in log SNR from t = 1 to start."""
        return _at_snr(
            torch.linspace(*_ends(schedule, start), steps + 1, dtype=torch.float64), schedule, start
        )


@final
class KarrasTimes(Grid):
    """Steps that are equal in (sigma / alpha)^(1 / rho): the larger rho, the shorter those near the data.

    Args:
        rho: ρ; 7 by Karras et al.

    Raises:
        ArgumentError: rho is not positive.

    References:
        Karras et al. 2022, Elucidating the design space of diffusion-based generative models, equation 5.
    """

    def __init__(self, rho: float = 7.0) -> None:
        if not 0.0 < rho < math.inf:
            raise ArgumentError(program="KarrasTimes", site="rho", got=rho, expected="a positive number")
        self.rho = float(rho)

    def times(self, steps: int, schedule: Schedule, start: float) -> Tensor:
        """Equally spaced in (sigma / alpha)^(1 / rho)."""
        first, last = (math.exp(-0.5 * snr / self.rho) for snr in _ends(schedule, start))
        ratio = torch.linspace(first, last, steps + 1, dtype=torch.float64)
        return _at_snr(-2.0 * self.rho * torch.log(ratio), schedule, start)


@final
class GivenTimes(Grid):
    """The times themselves.

    Args:
        values: Strictly decreasing from 1, K + 1 of them; the last is at least the start of the program.

    Raises:
        ArgumentError: They do not begin at 1, do not fall, or leave [0, 1].
    """

    def __init__(self, values: Sequence[float] | Tensor) -> None:
        numbers = torch.as_tensor(values, dtype=torch.float64).flatten()
        falls = bool((torch.diff(numbers) < 0.0).all()) and bool((numbers >= 0.0).all())
        if numbers.numel() < 2 or not falls or float(numbers[0]) != 1.0:
            raise ArgumentError(
                program="GivenTimes", site="values", got=[round(v, 4) for v in numbers.tolist()[:8]],
                expected="times in [0, 1], strictly decreasing from 1", hint="torch.linspace(1, 1e-3, steps + 1)",
            )  # fmt: skip
        self.values = tuple(numbers.tolist())

    def times(self, steps: int, schedule: Schedule, start: float) -> Tensor:
        """The given ones.

        Raises:
            ArgumentError: They are not one more than the steps, or end before the start.
        """
        if len(self.values) != steps + 1 or self.values[-1] < start - 1e-12:
            raise ArgumentError(
                program="GivenTimes", site="values", got=f"{len(self.values)} times down to {self.values[-1]:g}",
                expected=f"{steps + 1} times (steps + 1) that end at {start:g} or above",
            )  # fmt: skip
        return torch.tensor(self.values, dtype=torch.float64)


def as_grid(times: Grid | Sequence[float] | Tensor) -> Grid:
    """A grid, also from the times themselves."""
    return times if isinstance(times, Grid) else GivenTimes(times)
