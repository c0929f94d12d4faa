"""Annealed importance sampling between a base and a target, given as functions; it knows no program.

With densities π_t ∝ q^{1−β_t} p^{β_t}, 0 = β_0 < … < β_T = 1, and transitions that leave them invariant,

    forward:  u_0 ~ q,  u_t from u_{t−1} by a transition for π_t,        log w = Σ_t (β_t − β_{t−1}) log p/q (u_{t−1}),
    reverse:  u_{T−1} ~ p/Z,  u_{t−1} from u_t by a transition for π_t,  the same sum,

so that E w = Z forward and E 1/w = 1/Z in reverse: in expectation log mean w bounds log Z from below and −log mean 1/w
bounds it from above. T = 1 is plain importance sampling. Step sizes come from a pilot run of other chains and
are then frozen, so that both statements hold exactly whatever the pilot found.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unigen.dynamics.hamiltonian import Path, State, hamiltonian, state_at

TARGET = 0.8  # acceptance the pilot steers to
WARM_UP = 30  # transitions at the base before the pilot's annealing
JITTER = 0.2  # relative width of random step sizes, against periodic orbits
FIRST, LARGEST = 0.3, 10.0  # step size at the start and at most, in units of u


def ladder(steps: int, rise: float = 4.0) -> list[float]:
    """Return 0 = β_0 < … < β_T = 1, dense near both ends.

    β_t = (σ(s_t) − σ(−a)) / (σ(a) − σ(−a)),    s_t = a (2t/T − 1),    a = ``rise``.

    Args:
        steps: T ≥ 1.
        rise: a > 0; a → 0 is linear.

    Returns:
        T + 1 numbers.

    References:
        Grosse, Ghahramani & Adams 2015.

    Example:
        >>> [round(beta, 3) for beta in ladder(4)]
        [0.0, 0.105, 0.5, 0.895, 1.0]
    """
    s = torch.sigmoid(torch.linspace(-rise, rise, steps + 1, dtype=torch.float64))
    return ((s - s[0]) / (s[-1] - s[0])).tolist()


def _jittered(step_size: Tensor) -> Tensor:
    return step_size * (1.0 + JITTER * (2.0 * torch.rand_like(step_size) - 1.0))


def pilot(path: Path, start: Tensor, betas: list[float], leaps: int, chains: int) -> Tensor:
    """Run chains from the base up the ladder, steering step sizes, and return those.

    Args:
        path: (log q, log w) of rows ordered chain by chain: row k·N + i is chain k of example i.
        start: Draws from the base, shape (chains · N, D).
        betas: The ladder, T + 1 numbers.
        leaps: Leapfrog steps L.
        chains: Number of chains an example.

    Returns:
        Step sizes of the transitions at β_1 … β_{T−1} for each example, shape (T − 1, N).
    """
    n = start.shape[0] // chains
    state, log_h = state_at(path, start), start.new_full((n,), FIRST).log()
    found = []
    for t, beta in enumerate([0.0] * WARM_UP + betas[1:-1]):
        state, accepted = hamiltonian(path, state, beta, _jittered(log_h.exp().repeat(chains)), leaps)
        rate = max(0.1, 1.0 / (1 + t) ** 0.5)
        log_h = log_h + rate * (accepted.reshape(chains, n).mean(0) - TARGET)
        log_h = log_h.clamp(max=torch.tensor(LARGEST).log().item())
        if t >= WARM_UP:
            found.append(log_h.exp())
    return torch.stack(found) if found else start.new_zeros(0, n)


def forward(
    path: Path, start: Tensor, betas: list[float], step_sizes: Tensor, leaps: int
) -> tuple[Tensor, Tensor]:
    """Anneal draws of the base up to the target.

    Args:
        path: (log q, log w) of each row.
        start: Draws from q, shape (K · N, D), row k·N + i chain k of example i.
        betas: The ladder.
        step_sizes: Shape (T − 1, N).
        leaps: Leapfrog steps L.

    Returns:
        log w of each chain, shape (K, N), in nats, and the mean acceptance of each example, shape (N,).
    """
    return _run(path, state_at(path, start), betas, list(range(1, len(betas) - 1)), step_sizes, leaps)


def reverse(
    path: Path, start: Tensor, betas: list[float], step_sizes: Tensor, leaps: int
) -> tuple[Tensor, Tensor]:
    """Anneal exact draws of the target down to the base; arguments and results are those of ``forward``.

    Chains of one example may start from one draw: E 1/w = 1/Z holds for each, and so for their mean.
    """
    return _run(path, state_at(path, start), betas, list(range(len(betas) - 2, 0, -1)), step_sizes, leaps)


def _run(
    path: Path, state: State, betas: list[float], order: list[int], step_sizes: Tensor, leaps: int
) -> tuple[Tensor, Tensor]:
    """Visit the densities t in ``order``, adding up log w where the chains stand between them."""
    n = step_sizes.shape[1]
    chains = state.u.shape[0] // n
    upward = not order or order[0] == 1
    log_w = (betas[1] - betas[0] if upward else betas[-1] - betas[-2]) * state.log_ratio
    acceptance = torch.ones_like(state.log_ratio) if not order else torch.zeros_like(state.log_ratio)
    for t in order:
        h = _jittered(step_sizes[t - 1].repeat(chains))
        state, accepted = hamiltonian(path, state, betas[t], h, leaps)
        gap = betas[t + 1] - betas[t] if upward else betas[t] - betas[t - 1]
        log_w = log_w + gap * state.log_ratio
        acceptance = acceptance + accepted / len(order)
    return log_w.reshape(chains, n), acceptance.reshape(chains, n).mean(0)
