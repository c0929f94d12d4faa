"""Density: how log p(x) of a program is computed, bounded or estimated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

from unigen.logprob import Kind, LogProb

if TYPE_CHECKING:
    from unigen.program import Program


class Density(ABC):
    """A way to log p(x), and what kind of number it gives. Stateless: options are constructor arguments."""

    kind: Kind = Kind.EXACT

    @abstractmethod
    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Return log p(x) in nats, shape (N,), with its kind."""

    def __repr__(self) -> str:
        """Return the class and its options."""
        options = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({options})"
