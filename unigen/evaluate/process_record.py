"""What a generative model is as a process: states between data and noise, one way and the other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor

from unigen.program import Program

IMPLICIT = "no forward process: the likelihood is implicit"
ENERGY = "no forward process: an energy says how plausible x is, and no way to noise"
States = tuple[Tensor, ...]


class Step(StrEnum):
    """What leads from one state to the next."""

    ONE_STOCHASTIC = "one stochastic step"
    ONE_DETERMINISTIC = "one deterministic step"
    ODE = "ODE"
    SDE = "SDE"
    CHAIN = "chain"
    COORDINATES = "coordinate by coordinate"


@dataclass(frozen=True, eq=False, repr=False)
class Process:
    """A forward process from data to noise and a reverse one from noise to data.

    Args:
        times: From 0 (data) to 1 (noise), (K + 1,): ``forward[k]`` stands at ``times[k]``, ``reverse[k]`` at
            ``times[K − k]``.
        reverse: K + 1 states (n, *shape), from noise to draws of x; a state that is no x has a shape of its own.
        reverse_step: What leads from one to the next.
        forward: K + 1 states from data to noise, or None where the family has no way back.
        forward_step: What leads from one to the next, or None.
        text: What the picture shows, in a sentence or two.
        no_forward: Why there is no forward process, or None where there is one.
        beside: A second process with the same law at every time, such as the probability flow beside an SDE.
    """

    times: Tensor
    reverse: States
    reverse_step: Step
    forward: States | None
    forward_step: Step | None
    text: str
    no_forward: str | None = None
    beside: Process | None = None

    @property
    def steps(self) -> int:
        """K, the number of steps that are shown."""
        return len(self.reverse) - 1

    def __repr__(self) -> str:
        """Return both ways in words, and the shapes of data and noise."""
        forward = "none" if self.forward_step is None else self.forward_step
        shapes = f"{tuple(self.reverse[-1].shape)} and {tuple(self.reverse[0].shape)}"
        return f"Process(forward: {forward}; reverse: {self.reverse_step}; K={self.steps}; {shapes})"


class Asked(NamedTuple):
    """What a process is asked of.

    Args:
        program: A fitted program, in evaluation mode.
        x: Data, (n, *event).
        context: Context, (n, C), or None.
        steps: Largest number K of steps to show.
    """

    program: Program
    x: Tensor
    context: Tensor | None
    steps: int

    @property
    def n(self) -> int:
        """Number of points each way."""
        return self.x.shape[0]


def shown(total: int, steps: int) -> list[int]:
    """Choose which of the states 0 … total are shown: both ends, and evenly spaced ones between.

    Example:
        >>> shown(100, 4), shown(2, 4)
        ([0, 25, 50, 75, 100], [0, 1, 2])
    """
    k = min(total, steps)
    return [round(i * total / k) for i in range(k + 1)]


def even_times(steps: int) -> Tensor:
    """Return 0, 1/K, …, 1, shape (K + 1,)."""
    return torch.linspace(0.0, 1.0, steps + 1, dtype=torch.float64)
