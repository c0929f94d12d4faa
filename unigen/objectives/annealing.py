"""How the weight β of an ELBO's terms depends on the step t = 0, 1, 2, … of a fit.

The step is counted in a buffer of the loss, by its evaluations in training mode: so it is part of a checkpoint, and
the same in a compiled step and in a plain torch loop.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from unigen.errors import ArgumentError


class Annealing(ABC):
    """β as a function of the step; ``final`` is the β that the loss has in evaluation mode, as for validation."""

    final: float

    @abstractmethod
    def __call__(self, step: Tensor) -> Tensor:
        """Return β(t), a floating tensor of shape (), from t, an integer tensor of shape ()."""


def _check(name: str, start: float, final: float, **counts: int) -> None:
    for site, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArgumentError(program=name, site=site, got=value, expected="an integer ≥ 1")
    if not (0 <= start <= final < math.inf):
        raise ArgumentError(
            "β must not fall or be negative",
            program=name,
            got=f"start={start}, final={final}",
            expected="0 ≤ start ≤ final, finite",
        )


@dataclass(frozen=True)
class LinearWarmup(Annealing):
    """β rises linearly, then stays.

    β(t) = start + (final − start) min(1, t / steps)

    Args:
        steps: Steps until ``final`` is reached.
        start: β of the first step.
        final: β from then on.

    Raises:
        ArgumentError: ``steps`` is no positive integer, or not 0 ≤ start ≤ final.

    References:
        Bowman et al., Generating sentences from a continuous space, 2016; Sønderby et al., Ladder variational
        autoencoders, 2016.

    Example:
        >>> import torch
        >>> [round(float(LinearWarmup(10)(torch.tensor(t))), 2) for t in (0, 5, 10, 99)]
        [0.0, 0.5, 1.0, 1.0]
    """

    steps: int
    start: float = 0.0
    final: float = 1.0

    def __post_init__(self) -> None:
        _check("LinearWarmup", self.start, self.final, steps=self.steps)

    def __call__(self, step: Tensor) -> Tensor:
        """Return β(t)."""
        return self.start + (self.final - self.start) * (step / self.steps).clamp(max=1.0)


@dataclass(frozen=True)
class Cyclical(Annealing):
    """β rises linearly and stays, over and over.

    β(t) = start + (final − start) min(1, τ / ratio),    τ = (t mod period) / period

    Args:
        period: Steps of one cycle.
        ratio: Share of a cycle in which β rises.
        start: β at the start of a cycle.
        final: β at its end.

    Raises:
        ArgumentError: ``period`` is no positive integer, not 0 < ratio ≤ 1, or not 0 ≤ start ≤ final.

    References:
        Fu et al., Cyclical annealing schedule: a simple approach to mitigating KL vanishing, 2019.

    Example:
        >>> import torch
        >>> [round(float(Cyclical(10)(torch.tensor(t))), 2) for t in (0, 1, 5, 9, 10, 11)]
        [0.0, 0.2, 1.0, 1.0, 0.0, 0.2]
    """

    period: int
    ratio: float = 0.5
    start: float = 0.0
    final: float = 1.0

    def __post_init__(self) -> None:
        _check("Cyclical", self.start, self.final, period=self.period)
        if not 0 < self.ratio <= 1:
            raise ArgumentError(program="Cyclical", site="ratio", got=self.ratio, expected="in (0, 1]")

    def __call__(self, step: Tensor) -> Tensor:
        """Return β(t)."""
        share = (step % self.period) / (self.period * self.ratio)
        return self.start + (self.final - self.start) * share.clamp(max=1.0)


def check_beta(beta: float | Annealing) -> None:
    """Refuse what is no weight.

    Raises:
        ArgumentError: A negative or non-finite number, or neither a number nor an ``Annealing``.
    """
    value = beta.final if isinstance(beta, Annealing) else beta
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not plain or not 0 <= value < math.inf:
        raise ArgumentError(
            site="beta",
            got=beta,
            expected="a finite number ≥ 0, or a schedule",
            hint="LinearWarmup(steps=1000), Cyclical(period=1000)",
        )
