"""log Z by annealed importance sampling between any two unnormalised densities, from either end.

With densities f_β on a path from a base of known Z_0 to the target f_1 = exp(−E), 0 = β_0 < … < β_T = 1, and
transitions that leave f_β invariant,

    up:    x_0 ~ f_0/Z_0,  x_t from x_{t−1} by a transition at β_t,    log w = Σ_t log f_{β_t}/f_{β_{t−1}} (x_{t−1}),
    down:  x_T ~ f_1/Z,    x_{t−1} from x_t by one at β_{t−1},       −log w' = Σ_t log f_{β_{t−1}}/f_{β_t} (x_t),

so that E w = Z/Z_0 and E 1/w' = Z_0/Z: in expectation log mean w bounds log Z/Z_0 from below, −log mean 1/w' from
above.
A path is any object with the four members of ``AnnealingPath``; its states are its own business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

State = TypeVar("State")


class AnnealingPath(Protocol, Generic[State]):
    """Unnormalised densities f_β, 0 ≤ β ≤ 1, with a transition for each.

    Attributes:
        log_z_base: log Z_0 in nats.
    """

    log_z_base: float | Tensor

    def start(self, n: int) -> State:
        """Return n independent exact draws of the base f_0 / Z_0."""
        ...

    def state(self, x: Tensor) -> State:
        """Return the state of chains that stand at x, shape (n, *event)."""
        ...

    def log_density(self, state: State, beta: float) -> Tensor:
        """Return log f_β of each chain in nats, shape (n,)."""
        ...

    def transition(self, state: State, beta: float) -> State:
        """Return the chains after a transition that leaves f_β invariant."""
        ...


@torch.no_grad()
def anneal_up(path: AnnealingPath[State], betas: Sequence[float], chains: int) -> tuple[Tensor, State]:
    """Anneal draws of the base up to the target.

    Args:
        path: The densities and their transitions.
        betas: 0 = β_0 < … < β_T = 1.
        chains: K.

    Returns:
        log w of each chain, E w = Z / Z_0, shape (K,), float64, in nats; and where the chains end.
    """
    return _anneal(path, path.start(chains), betas)


@torch.no_grad()
def anneal_down(path: AnnealingPath[State], betas: Sequence[float], x: Tensor) -> Tensor:
    """Anneal draws of the target down to the base.

    Args:
        path: The densities and their transitions.
        betas: 0 = β_0 < … < β_T = 1.
        x: Draws of the target, shape (K, *event).

    Returns:
        log 1/w' of each chain, E 1/w' = Z_0 / Z, shape (K,), float64, in nats.
    """
    return _anneal(path, path.state(x), list(reversed(betas)))[0]


def _anneal(path: AnnealingPath[State], state: State, betas: Sequence[float]) -> tuple[Tensor, State]:
    log_w = torch.zeros_like(path.log_density(state, betas[0]), dtype=torch.float64)
    for now, then in zip(betas, betas[1:], strict=False):
        log_w = log_w + (path.log_density(state, then) - path.log_density(state, now)).double()
        state = path.transition(state, then)
    return log_w, state


def log_mean(log_w: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return log 1/K Σ w and its standard error by the delta method, of log w (K,); no error for one chain."""
    k = log_w.shape[0]
    value = log_w.logsumexp(0) - math.log(k)
    if k == 1:
        return value, None
    return value, (log_w - value).exp().std(0) / math.sqrt(k)


def effective_chains(log_w: Tensor) -> float:
    """Return (Σ w)² / Σ w², of log w (K,): how many chains carry the estimate."""
    return (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp().item()
