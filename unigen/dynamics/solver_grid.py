"""The grid of a solver of fixed step that stops at given times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from unigen.errors import ArgumentError

MOST = 1_000_000  # steps


@dataclass(frozen=True)
class SolverGrid:
    """Increasing times of observation, and the steps of a solver between them.

    Args:
        times: Times of observation, t_1 < … < t_T.
        points: Times of the solver, τ_0 = t_1 < … < τ_K = t_T.
        stops: Index of each t_i among the τ.
    """

    times: tuple[float, ...]
    points: tuple[float, ...]
    stops: tuple[int, ...]

    @property
    def steps(self) -> int:
        """K."""
        return len(self.points) - 1

    @property
    def span(self) -> float:
        """t_T − t_1."""
        return self.times[-1] - self.times[0]

    @property
    def gap(self) -> float:
        """Mean time between two observations."""
        return self.span / (len(self.times) - 1)

    def tensor(self, like: Tensor) -> Tensor:
        """Return τ, (K + 1,), in the type and on the device of a tensor."""
        return torch.tensor(self.points, dtype=like.dtype, device=like.device)

    def ahead(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the index of the first observation after each time (of the last, where none follows), and its time.

        Args:
            t: Any shape.

        Returns:
            Two tensors of the shape of t.
        """
        times = torch.tensor(self.times, dtype=t.dtype, device=t.device)
        index = torch.searchsorted(times, t.detach().contiguous(), right=True).clamp_max(len(self.times) - 1)
        return index, times[index]


def check_observation_times(times: Sequence[float], program: str) -> tuple[float, ...]:
    """Return times as numbers, strictly increasing.

    Raises:
        ArgumentError: Fewer than two, not finite, or unsorted.
    """
    values = tuple(float(t) for t in times)
    if len(values) < 2:
        raise ArgumentError(
            "a path needs two times", program=program, site="times", got=values, expected="t_1 < t_2 < …"
        )
    if not all(map(math.isfinite, values)) or any(a >= b for a, b in pairwise(values)):
        wrong = next((pair for pair in pairwise(values) if not pair[0] < pair[1]), values)
        raise ArgumentError(
            "times must be finite and strictly increasing", program=program, site="times",
            got=", ".join(f"{t:g}" for t in wrong), hint="sorted(set(times)), and the columns of x in the same order",
        )  # fmt: skip
    return values


def solver_grid(times: Sequence[float], dt: float | None = None, program: str = "solver_grid") -> SolverGrid:
    """Return equal steps of at most dt between each two times of observation.

    Args:
        times: t_1 < … < t_T.
        dt: Longest step; a fiftieth of the whole if omitted.
        program: Name used in messages.

    Raises:
        ArgumentError: Unsorted times, fewer than two of them, dt not positive, or over a million steps.

    Example:
        >>> solver_grid([0.0, 1.0, 1.5], dt=0.5).points, solver_grid([0.0, 1.0, 1.5], dt=0.5).stops
        ((0.0, 0.5, 1.0, 1.5), (0, 2, 3))
    """
    stops = check_observation_times(times, program)
    span = stops[-1] - stops[0]
    dt = span / 50 if dt is None else float(dt)
    if not 0.0 < dt < math.inf:
        raise ArgumentError(program=program, site="dt", got=dt, expected="> 0")
    if span / dt > MOST:
        got = f"{span / dt:.3g} steps of {dt:g} from {stops[0]:g} to {stops[-1]:g}"
        raise ArgumentError(
            program=program, site="dt", got=got, expected=f"at most {MOST:,}", hint="a larger dt"
        )
    points, index = [stops[0]], [0]
    for a, b in pairwise(stops):
        k = max(1, math.ceil((b - a) / dt - 1e-6))
        points += [*(a + (b - a) * i / k for i in range(1, k)), b]
        index.append(len(points) - 1)
    return SolverGrid(stops, tuple(points), tuple(index))
