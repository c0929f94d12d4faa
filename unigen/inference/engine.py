"""Engine: how draws from the posterior of a program's latents are made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from torch import Tensor

from unigen.inference.progress import Bar
from unigen.inference.unconstrained import Unconstrained


@dataclass(frozen=True)
class Found:
    """What an engine returns.

    Args:
        u: Draws on the reals, shape (C, S, D); C chains, or one row for each data set.
        statistics: By name, shape (C, S); ``lp`` is among them, the log joint on the reals in nats.
        step_size: Of each chain, shape (C,), where there are steps.
    """

    u: Tensor
    statistics: dict[str, Tensor] = field(default_factory=dict)
    step_size: Tensor | None = None


class Engine(ABC):
    """Makes draws. Stateless: options are constructor arguments."""

    @abstractmethod
    def run(self, space: Unconstrained, seed: int, bar: Bar) -> Found:
        """Return draws from exp(−U) of a space; the global random state stays as it is."""

    @property
    @abstractmethod
    def rounds(self) -> int:
        """Number of rounds that ``run`` reports to the progress bar."""
