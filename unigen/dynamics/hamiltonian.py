"""Hamiltonian Monte Carlo along a path of densities: leapfrog steps with a Metropolis correction.

    H(u, r) = −log π(u) + ½|r|²,    r ~ N(0, I),
    r ← r + ½h ∇log π(u),   u ← u + h r,   r ← r + ½h ∇log π(u)      (L times),

accepted with probability min(1, exp(H(u, r) − H(u', r'))), which leaves π invariant at every step size h. L = 1 is the
Metropolis-adjusted Langevin algorithm (MALA) with step h²/2. The density is on a geometric path from base to target,

    log π_β(u) = log q(u) + β log w(u),      log w = log p − log q,

of which β = 0 is the base, β = 1 the target. Each row of u is a chain of its own, with a step size of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Path = Callable[[Tensor], tuple[Tensor, Tensor]]  # u (R, D) -> log q(u), log w(u), both (R,)


@dataclass(frozen=True)
class State:
    """Chains and what is known where they stand.

    Args:
        u: Positions, shape (R, D).
        log_base: log q(u) in nats, shape (R,).
        log_ratio: log w(u) in nats, shape (R,).
    """

    u: Tensor
    log_base: Tensor
    log_ratio: Tensor


def state_at(path: Path, u: Tensor) -> State:
    """Return chains that stand at u, without gradients."""
    with torch.no_grad():
        log_base, log_ratio = path(u)
    return State(u.detach(), log_base.detach(), log_ratio.detach())


def _slope(path: Path, u: Tensor, beta: float) -> tuple[State, Tensor]:
    """Return the state at u and ∇log π_β(u), shape (R, D)."""
    with torch.enable_grad():
        at = u.detach().requires_grad_(True)
        log_base, log_ratio = path(at)
        gradient = torch.autograd.grad((log_base + beta * log_ratio).sum(), at)[0]
    return State(u.detach(), log_base.detach(), log_ratio.detach()), gradient


def hamiltonian(path: Path, state: State, beta: float, step_size: Tensor, leaps: int) -> tuple[State, Tensor]:
    """Make one transition of each chain that leaves π_β invariant.

    Args:
        path: Maps u (R, D) to (log q, log w), each (R,); the same functions at every call, row by row.
        state: Where the chains stand.
        beta: β of the density that stays invariant.
        step_size: h of each chain, shape (R,); it must not depend on where the chain stands.
        leaps: Number of leapfrog steps L ≥ 1.

    Returns:
        The new state, and the probability with which each proposal was accepted, shape (R,); 0 where the proposal has
        no finite energy.

    References:
        Duane et al. 1987; Neal, MCMC using Hamiltonian dynamics, 2011.

    Example:
        >>> path = lambda u: (-0.5 * u.square().sum(1), torch.zeros(u.shape[0]))
        >>> start = state_at(path, torch.randn(1000, 2))
        >>> end, accepted = hamiltonian(path, start, 0.0, torch.full((1000,), 0.1), leaps=5)
        >>> bool(accepted.mean() > 0.99)
        True
    """
    h = step_size[:, None]
    momentum = torch.randn_like(state.u)
    kinetic = 0.5 * momentum.square().sum(1)
    _, gradient = _slope(path, state.u, beta)
    u, new = state.u, state
    r = momentum + 0.5 * h * gradient
    for leap in range(leaps):
        u = u + h * r
        new, gradient = _slope(path, u, beta)
        r = r + (h if leap < leaps - 1 else 0.5 * h) * gradient
    gain = (
        (new.log_base + beta * new.log_ratio - 0.5 * r.square().sum(1))
        - (state.log_base + beta * state.log_ratio - kinetic)
    )  # fmt: skip
    probability = gain.clamp(max=0.0).exp().nan_to_num(nan=0.0)
    accept = torch.rand_like(probability) < probability
    moved = State(
        torch.where(accept[:, None], new.u, state.u),
        torch.where(accept, new.log_base, state.log_base),
        torch.where(accept, new.log_ratio, state.log_ratio),
    )
    return moved, probability
