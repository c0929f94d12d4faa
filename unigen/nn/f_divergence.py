"""The f-divergence: what every one of them says of itself, and the bound from below that a critic tightens.

    D_φ(p‖q) = E_q φ(p/q) ≥ E_p T − E_q φ*(T),    T = g(v)

``f_divergences`` has the divergences, and the table of φ, g and φ*.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor


class FDivergence(ABC):
    """D_φ(p‖q) = E_q φ(p/q), and how a critic bounds it. Stateless.

    Attributes:
        label: What messages and figures call it.
        gives_ratio: Whether the best critic's value determines p/q.
    """

    label: ClassVar[str]
    gives_ratio: ClassVar[bool] = True

    @abstractmethod
    def phi(self, u: Tensor) -> Tensor:
        """Return φ(u), u > 0."""

    @abstractmethod
    def activation(self, v: Tensor) -> Tensor:
        """Return T = g(v)."""

    @abstractmethod
    def conjugate(self, t: Tensor) -> Tensor:
        """Return φ*(t)."""

    @abstractmethod
    def composed(self, v: Tensor) -> Tensor:
        """Return φ*(g(v)), written so that it neither overflows early nor cancels."""

    @abstractmethod
    def optimum(self, log_ratio: Tensor) -> Tensor:
        """Return the best critic's v at points where log p/q is given."""

    @abstractmethod
    def log_ratio(self, v: Tensor) -> Tensor:
        """Return log p/q at points where the best critic has the value v; its sign alone where that is all."""

    def bound(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return mean g(v) on data − mean φ*(g(v)) on draws, in expectation at most D_φ.

        Args:
            real: v on data, shape (N,).
            fake: v on draws, shape (M,).

        Returns:
            A scalar: nats for the two KLs and Jensen–Shannon, without unit for the others.
        """
        return self.activation(real).mean() - self.composed(fake).mean()

    def __repr__(self) -> str:
        """Return the class and its options."""
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"
