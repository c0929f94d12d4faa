"""The no-U-turn sampler, many chains side by side: one gradient of all of them a leapfrog step.

    H(q, r) = U(q) + ½ Σ_d m_d r_d²,     r ~ N(0, 1/m),

and trajectories that double until they turn back on themselves; the next state is drawn from the trajectory with
probability ∝ exp(−H), biased towards its younger half. Notation: C chains, D dimensions, U = −log density, m the
inverse mass (variances of q). A subtree of 2^j leaves is walked leaf by leaf, with one checkpoint a level for the
U-turn tests, so that all chains take the same steps and no recursion is needed.

Every chain has its own step size, mass and random numbers (see ``Noise``): what chain i does depends on no other chain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Potential = Callable[[Tensor], tuple[Tensor, Tensor]]  # q (C, D) -> U(q) (C,), ∇U(q) (C, D)

DIVERGENT = 1000.0  # a loss of energy, in nats, that only a failing integrator explains


@dataclass(frozen=True)
class Point:
    """Where the chains stand.

    Args:
        q: Positions, shape (C, D).
        potential: U(q) in nats, shape (C,).
        gradient: ∇U(q), shape (C, D).
    """

    q: Tensor
    potential: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class Noise:
    """The random numbers of one transition, all independent.

    Args:
        momentum: Standard normal, shape (C, D).
        direction: Uniform, shape (C, J): whether the j-th doubling goes forward.
        leaf: Uniform, shape (C, J): picks a leaf of the j-th subtree.
        tree: Uniform, shape (C, J): whether the j-th subtree replaces the state.
    """

    momentum: Tensor
    direction: Tensor
    leaf: Tensor
    tree: Tensor


@dataclass(frozen=True)
class Transition:
    """Where the chains stand after a transition, and what it was like.

    Args:
        point: The new state.
        accepted: Mean acceptance probability over the leaves, shape (C,): what a step size is adapted to.
        leaves: Number of leapfrog steps, shape (C,).
        divergent: Whether the trajectory ended in a divergence, shape (C,).
        energy: H of the start in nats, shape (C,).
    """

    point: Point
    accepted: Tensor
    leaves: Tensor
    divergent: Tensor
    energy: Tensor


@dataclass
class _Ends:
    """Position, momentum and gradient of one end of the trajectories."""

    q: Tensor
    r: Tensor
    gradient: Tensor

    def where(self, mask: Tensor, other: _Ends) -> _Ends:
        """Return this end where the mask holds, the other elsewhere."""
        m = mask[:, None]
        return _Ends(
            *(torch.where(m, a, b) for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )


@dataclass
class _Subtree:
    """A subtree of 2^j leaves: its far end, its pick, its weight and what went wrong."""

    end: _Ends
    pick: Point
    log_weight: Tensor
    momentum: Tensor
    complete: Tensor
    divergent: Tensor
    accepted: Tensor
    leaves: Tensor


def _pick(mask: Tensor, new: Point, old: Point) -> Point:
    m = mask[:, None]
    return Point(
        torch.where(m, new.q, old.q),
        torch.where(mask, new.potential, old.potential),
        torch.where(m, new.gradient, old.gradient),
    )


def _turning(inverse_mass: Tensor, first: Tensor, last: Tensor, total: Tensor) -> Tensor:
    """Whether the momenta at both ends no longer point along the trajectory (Betancourt 2017), shape (C,)."""
    along = (total - 0.5 * (first + last)) * inverse_mass
    return ((first * along).sum(1) <= 0) | ((last * along).sum(1) <= 0)


def _levels(leaf: int) -> range:
    """Return the checkpoints against which an odd leaf is tested: those of the subtrees that it completes."""
    top = (leaf >> 1).bit_count()
    trailing = ((leaf + 1) & -(leaf + 1)).bit_length() - 1
    return range(top, top - trailing, -1)


def _grow(
    potential: Potential, start: _Ends, at: Point, step: Tensor, inverse_mass: Tensor, depth: int, energy: Tensor,
    alive: Tensor, u: Tensor,
) -> _Subtree:  # fmt: skip
    """Walk 2^depth leaves from an end of the trajectories that are alive."""
    end, pick, h = start, at, step[:, None]
    log_weight = torch.full_like(energy, -torch.inf)
    total, accepted, leaves = torch.zeros_like(start.r), torch.zeros_like(energy), torch.zeros_like(energy)
    divergent = torch.zeros_like(alive)
    checkpoints: dict[int, tuple[Tensor, Tensor]] = {}
    for leaf in range(2**depth):
        r = end.r - 0.5 * h * end.gradient
        q = end.q + h * inverse_mass * r
        value, gradient = potential(q)
        r = r - 0.5 * h * gradient
        gain = (energy - value - 0.5 * (inverse_mass * r.square()).sum(1)).nan_to_num(nan=-torch.inf)
        end = _Ends(q, r, gradient).where(alive, end)
        heavier = torch.where(alive, torch.logaddexp(log_weight, gain), log_weight)
        p = torch.where(alive, (gain - heavier).exp().nan_to_num(nan=0.0), 0.0)
        take = u < p
        u = torch.where(take, u / p.clamp_min(1e-300), (u - p) / (1 - p).clamp_min(1e-300)).clamp(
            0.0, 1.0 - 1e-16
        )
        pick, log_weight = _pick(take, Point(q, value, gradient), pick), heavier
        accepted = accepted + torch.where(alive, gain.clamp(max=0.0).exp(), 0.0)
        leaves = leaves + alive
        total = total + torch.where(alive[:, None], r, 0.0)
        failed = alive & (gain < -DIVERGENT)
        divergent = divergent | failed
        if leaf % 2 == 0:
            checkpoints[(leaf >> 1).bit_count()] = (end.r, total)
        else:
            for level in _levels(leaf):
                first, before = checkpoints[level]
                failed = failed | _turning(inverse_mass, first, end.r, total - before + first)
        alive = alive & ~failed
        if not bool(alive.any()):
            break
    return _Subtree(end, pick, log_weight, total, alive, divergent, accepted, leaves)


def nuts_transition(
    potential: Potential, at: Point, step_size: Tensor, inverse_mass: Tensor, noise: Noise
) -> Transition:
    """Make one transition of each chain that leaves exp(−U) invariant.

    Args:
        potential: q (C, D) ↦ U (C,) and ∇U (C, D), row by row.
        at: Where the chains stand.
        step_size: Shape (C,).
        inverse_mass: m, shape (C, D).
        noise: Random numbers; its J is the largest number of doublings.

    References:
        Hoffman & Gelman, The no-U-turn sampler, JMLR 2014; Betancourt, A conceptual introduction to Hamiltonian Monte
        Carlo, 2017; Phan, Pradhan & Jankowiak, Composable effects, 2019 (the iterative form).
    """
    r = noise.momentum / inverse_mass.sqrt()
    energy = at.potential + 0.5 * noise.momentum.square().sum(1)
    left = right = _Ends(at.q, r, at.gradient)
    chosen, log_weight, total = at, torch.zeros_like(energy), r
    alive = torch.ones_like(energy, dtype=torch.bool)
    divergent = ~alive
    accepted, leaves = torch.zeros_like(energy), torch.zeros_like(energy)
    for depth in range(noise.direction.shape[1]):
        forward = noise.direction[:, depth] < 0.5
        step = torch.where(forward, step_size, -step_size)
        tree = _grow(
            potential,
            right.where(forward, left),
            chosen,
            step,
            inverse_mass,
            depth,
            energy,
            alive,
            noise.leaf[:, depth],
        )
        accepted, leaves = accepted + tree.accepted, leaves + tree.leaves
        divergent = divergent | tree.divergent
        take = tree.complete & (noise.tree[:, depth] < (tree.log_weight - log_weight).clamp(max=0.0).exp())
        chosen = _pick(take, tree.pick, chosen)
        right, left = (
            tree.end.where(tree.complete & forward, right),
            tree.end.where(tree.complete & ~forward, left),
        )
        total = torch.where(tree.complete[:, None], total + tree.momentum, total)
        log_weight = torch.where(tree.complete, torch.logaddexp(log_weight, tree.log_weight), log_weight)
        alive = tree.complete & ~_turning(inverse_mass, left.r, right.r, total)
        if not bool(alive.any()):
            break
    return Transition(chosen, accepted / leaves.clamp_min(1), leaves, divergent, energy)
