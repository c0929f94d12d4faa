"""The no-U-turn sampler, many chains side by side: one gradient of all of them a leapfrog step.

    H(q, r) = U(q) + ½ Σ_d m_d r_d²,     r ~ N(0, 1/m),

and trajectories that double until they turn back on themselves; the next state is drawn from the trajectory with
probability ∝ exp(−H), biased towards its younger half. Notation: C chains, D dimensions, U = −log density, m the
inverse mass (variances of q). A subtree of 2^j leaves is walked leaf by leaf, with one checkpoint a level for the
U-turn tests, so that all chains take the same steps and no recursion is needed.

Every chain has its own step size, mass and random numbers (see ``Noise``): what chain i does depends on no other chain.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.dynamics.tree import Kernels, Tensors


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
    """Where the chains stand after a transition, and what it was like, in ArviZ's names.

    Args:
        point: The new state.
        acceptance_rate: Mean acceptance probability over the leaves, shape (C,): what a step size is adapted to.
        n_steps: Number of leapfrog steps, shape (C,).
        diverging: Whether the trajectory ended in a divergence, shape (C,).
        energy: H of the start in nats, shape (C,).
        tree_depth: Number of doublings that were begun, shape (C,); 0 for a static trajectory.
    """

    point: Point
    acceptance_rate: Tensor
    n_steps: Tensor
    diverging: Tensor
    energy: Tensor
    tree_depth: Tensor


def _levels(leaf: int) -> range:
    """Return the checkpoints against which an odd leaf is tested: those of the subtrees that it completes."""
    top = (leaf >> 1).bit_count()
    trailing = ((leaf + 1) & -(leaf + 1)).bit_length() - 1
    return range(top, top - trailing, -1)


def _grow(kernels: Kernels, state: Tensors, fixed: Tensors, depth: int) -> Tensors:
    """Walk 2^depth leaves from an end of the trajectories that are alive; the state is that of ``tree.leaf``."""
    _, inverse_mass, _ = fixed
    checkpoints: dict[int, tuple[Tensor, Tensor]] = {}
    for leaf in range(2**depth):
        state = kernels.leaf(*state, *fixed)
        r, total, alive = state[1], state[7], state[11]
        if leaf % 2 == 0:
            checkpoints[(leaf >> 1).bit_count()] = (r, total)
        else:
            for level in _levels(leaf):
                (alive,) = kernels.turn(alive, inverse_mass, *checkpoints[level], r, total)
            state = (*state[:11], alive, *state[12:])
        if not bool(alive.any()):
            break
    return state


def nuts_transition(
    kernels: Kernels, at: Point, step_size: Tensor, inverse_mass: Tensor, noise: Noise
) -> Transition:
    """Make one transition of each chain that leaves exp(−U) invariant.

    Args:
        kernels: The steps of a tree on U, ``eager_kernels(potential)`` or their compiled form.
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
    zero = torch.zeros_like(energy)
    alive = torch.ones_like(energy, dtype=torch.bool)
    ends = (at.q, r, at.gradient)
    tree = (*ends, *ends, at.q, at.potential, at.gradient, zero, r, zero, zero, zero, ~alive, alive)
    for depth in range(noise.direction.shape[1]):
        *state, forward, h = kernels.begin(*tree, noise.direction[:, depth], noise.leaf[:, depth], step_size)
        state = _grow(kernels, tuple(state), (h, inverse_mass, energy), depth)
        tree = kernels.merge(*tree, *state, forward, noise.tree[:, depth], inverse_mass)
        if not bool(tree[-1].any()):
            break
    accepted, n_steps, begun, divergent = tree[11:15]
    return Transition(Point(*tree[6:9]), accepted / n_steps.clamp_min(1), n_steps, divergent, energy, begun)
