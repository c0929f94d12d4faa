"""Training within a budget of processor time, whatever else the machine does."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from unigen.inference.run import StepEvent


def processor_seconds() -> float:
    """Return the processor time of this process and of those it started and waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


class Clock:
    """A cosine learning rate over processor time, and the callback that ends the run with it.

    Args:
        seconds: Processor seconds of training, compilation included.
        wall_seconds: The run ends by then in any case.
        warmup: Steps in which the learning rate rises.
        report: Says how it goes; the time it takes is not counted.
        every: Steps between reports.
        already: Processor seconds that earlier processes of the run have spent.
    """

    def __init__(
        self,
        seconds: float,
        *,
        wall_seconds: float = math.inf,
        warmup: int = 50,
        report: Callable[[StepEvent, float], str] = lambda event, spent: f"step {event.step}, {spent:.0f} s",
        every: int = 250,
        already: float = 0.0,
    ) -> None:
        self.seconds, self.wall_seconds, self.warmup = seconds, wall_seconds, warmup
        self.report, self.every = report, every
        self.began, self.wall = processor_seconds(), time.perf_counter()
        self.spent_outside = -already

    @property
    def progress(self) -> float:
        """Fraction of the budget that is used up."""
        return max(self.spent / self.seconds, (time.perf_counter() - self.wall) / self.wall_seconds)

    @property
    def spent(self) -> float:
        """Processor seconds of training."""
        return processor_seconds() - self.began - self.spent_outside

    def schedule(self, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
        """Return the schedule; ``steps`` is an upper bound that the clock does not use."""

        def factor(step: int) -> float:
            cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress)))
            return min(1.0, (step + 1) / self.warmup) * cosine

        return LambdaLR(optimizer, factor)

    def __call__(self, event: StepEvent) -> bool:
        """Tell how it goes now and then; stop when the time is spent."""
        if event.step % self.every == 0:
            spent, before = self.spent, processor_seconds()
            print(self.report(event, spent), file=sys.stderr, flush=True)
            self.spent_outside += processor_seconds() - before
        return self.progress >= 1
