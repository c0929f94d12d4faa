"""Finitely many states with an unnormalised mass each: their sum and exact draws, by visiting them all.

    Z = Σ_s exp(log_mass(s)),    s ∈ {low, 1}^units,

in chunks, so that no temporary is larger than a chunk; 2²⁰ states take seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.errors import UnsupportedQueryError

LARGEST = 20  # units: 2²⁰ states
CHUNK = 2**14  # states visited together


@dataclass(frozen=True)
class FiniteStates:
    """All states of binary units, and what each weighs.

    Args:
        units: Number of binary units.
        log_mass: Maps states (S, units) to their log mass in nats (S,), all other variables summed out.
        complete: Maps drawn states (n, units) to draws of x (n, *event).
        like: A tensor of the dtype and device of the states.
        low: The value of a unit that is off: 0, or −1 for spins.
        program: Name used in messages.

    Raises:
        UnsupportedQueryError: More than 20 units.

    Example:
        >>> coins = FiniteStates(3, lambda s: s.sum(-1), lambda s: s, torch.zeros(1))
        >>> round(coins.log_z().item(), 4), round(3 * torch.tensor(1.0).exp().log1p().item(), 4)
        (3.9398, 3.9398)
    """

    units: int
    log_mass: Callable[[Tensor], Tensor]
    complete: Callable[[Tensor], Tensor]
    like: Tensor
    low: float = 0.0
    program: str = "FiniteStates"

    def __post_init__(self) -> None:
        if self.units > LARGEST:
            raise UnsupportedQueryError(
                "too many states to visit each",
                program=self.program,
                got=f"2^{self.units}",
                expected=f"at most 2^{LARGEST}",
                hint="an estimate: AnnealedNormaliser(steps, chains)",
            )

    def chunks(self) -> Iterator[Tensor]:
        """Yield all states in order, unit 0 the lowest binary digit, in blocks of shape (S, units)."""
        bits = torch.arange(self.units, device=self.like.device)
        for start in range(0, 2**self.units, CHUNK):
            stop = min(start + CHUNK, 2**self.units)
            index = torch.arange(start, stop, device=self.like.device)
            on = (index[:, None] >> bits) & 1
            yield self.low + (1.0 - self.low) * on.to(self.like.dtype)

    def log_masses(self) -> Tensor:
        """Return log_mass of every state in order, shape (2^units,), in nats."""
        return torch.cat([self.log_mass(states) for states in self.chunks()])

    def log_z(self) -> Tensor:
        """Return log Z in nats, shape (), differentiable in whatever log_mass is."""
        return torch.stack([self.log_mass(states).logsumexp(0) for states in self.chunks()]).logsumexp(0)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Return n exact, independent draws of x, shape (n, *event)."""
        log_mass = self.log_masses().double()
        cumulative = (log_mass - log_mass.max()).exp().cumsum(0)
        u = torch.rand(n, dtype=torch.float64, device=self.like.device) * cumulative[-1]
        index = torch.searchsorted(cumulative, u, right=True).clamp_max(cumulative.shape[0] - 1)
        bits = torch.arange(self.units, device=self.like.device)
        on = ((index[:, None] >> bits) & 1).to(self.like.dtype)
        return self.complete(self.low + (1.0 - self.low) * on)
