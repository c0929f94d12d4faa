"""Sampler: how draws from a program are made."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from unigen.program import Program


class Sampler(ABC):
    """Makes draws. Stateless and final: options are constructor arguments."""

    @abstractmethod
    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return n draws, shape (n, *event_shape)."""

    def __repr__(self) -> str:
        """Return the class and its options."""
        names = inspect.signature(type(self)).parameters
        options = ", ".join(f"{name}={getattr(self, name)!r}" for name in names if hasattr(self, name))
        return f"{type(self).__name__}({options})"
