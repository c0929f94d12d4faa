"""The unnormalised log density of an energy: −E(x | c) = log p(x | c) + log Z(c), with Z unknown."""

from __future__ import annotations

from typing import Protocol, final

from torch import Tensor

from unigen.densities.density import Density
from unigen.errors import NoDensityError
from unigen.logprob import Kind, LogProb
from unigen.program import Program


class HasEnergy(Protocol):
    """A program with an energy E(x | c) of its own."""

    def potential(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return E(x | c) in nats, shape (N,)."""
        ...


@final
class Unnormalised(Density):
    """−E(x | c) of a program that declares ``potential(x, context)``.

    It says which of two points is likelier, and its gradient is the exact score; it is no log-probability
    until log Z is known, so it carries ``Kind.UNNORMALISED`` and refuses comparisons.

    References:
        LeCun et al., A tutorial on energy-based learning, 2006.
    """

    kind = Kind.UNNORMALISED

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Return −E(x | c) in nats, shape (N,).

        Raises:
            NoDensityError: The program declares no energy.
        """
        potential = getattr(program, "potential", None)
        if potential is None:
            raise NoDensityError(
                "no energy",
                program=program.name,
                expected="a method `potential(x, context)` that returns (N,)",
            )
        return LogProb(-potential(x, context), self.kind, dims=max(1, program.event_shape.numel()))
