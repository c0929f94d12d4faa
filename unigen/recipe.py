"""Recipe: how a family is trained by default. Every entry can be overridden in ``fit``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

Schedule = Callable[[torch.optim.Optimizer, int], LRScheduler]


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up, then a half cosine down to a fraction of the learning rate.

    Args:
        warmup: Steps of warm-up.
        final: Fraction of the learning rate that is left at the end.
    """

    warmup: int = 0
    final: float = 0.0

    def __call__(self, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
        """Return the scheduler of an optimiser for a run of ``steps`` steps."""

        def factor(step: int) -> float:
            if step < self.warmup:
                return (step + 1) / (self.warmup + 1)
            progress = min(1.0, (step - self.warmup) / max(1, steps - self.warmup))
            return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))

        return LambdaLR(optimizer, factor)


@dataclass(frozen=True)
class Recipe:
    """Defaults of ``fit`` for one family.

    Args:
        steps: Optimiser rounds (or EM steps at most).
        batch_size: Examples a batch.
        lr: Learning rate.
        optimizer: Called as ``optimizer(parameters, lr=lr)``.
        schedule: Learning-rate schedule, or None.
        clip: Largest norm of a gradient, or None.
        ema: Decay of the exponential moving average of the parameters, or None.
        tolerance: EM stops when the loss falls by less, in nats an example.
    """

    steps: int = 3000
    batch_size: int = 128
    lr: float = 1e-3
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    schedule: Schedule | None = None
    clip: float | None = None
    ema: float | None = None
    tolerance: float = 1e-7
