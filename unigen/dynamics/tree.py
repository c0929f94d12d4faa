"""The four steps of which a no-U-turn trajectory consists, each a function of tensors alone, so that it compiles.

Notation: C chains, D dimensions; q positions, r momenta, g = ∇U(q), all (C, D); m the inverse mass; h the signed step,
(C, 1). A trajectory has two ends (q, r, g) and a pick, a subtree one end and a pick. What is not ``alive`` stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Potential = Callable[[Tensor], tuple[Tensor, Tensor]]  # q (C, D) -> U(q) (C,), ∇U(q) (C, D)
Tensors = tuple[Tensor, ...]
Kernel = Callable[..., Tensors]

DIVERGENT = 1000.0  # a loss of energy, in nats, that only a failing integrator explains


@dataclass(frozen=True)
class Kernels:
    """The steps of a trajectory, eager or compiled.

    Args:
        leaf: See ``leaf_of``.
        turn: See ``turn``.
        begin: See ``begin``.
        merge: See ``merge``.
    """

    leaf: Kernel
    turn: Kernel
    begin: Kernel
    merge: Kernel


def eager_kernels(potential: Potential) -> Kernels:
    """Return the steps on a potential, operation by operation."""
    return Kernels(leaf_of(potential), turn, begin, merge)


def turning(inverse_mass: Tensor, first: Tensor, last: Tensor, total: Tensor) -> Tensor:
    """Whether the momenta at both ends no longer point along the trajectory (Betancourt 2017), shape (C,)."""
    along = (total - 0.5 * (first + last)) * inverse_mass
    return ((first * along).sum(1) <= 0) | ((last * along).sum(1) <= 0)


def _where(mask: Tensor, new: Tensors, old: Tensors) -> Tensors:
    """Choose chain by chain."""
    return tuple(
        torch.where(mask[:, None] if a.dim() == 2 else mask, a, b) for a, b in zip(new, old, strict=True)
    )


def leaf_of(potential: Potential) -> Kernel:
    """Return the step that adds one leaf to a subtree.

    The function maps the state (end q, r, g; pick q, U, g; log weight; Σ r; Σ acceptance; leaves; divergent; alive; u)
    and the constants (h, m, H of the start) to the new state. The leaf is picked with probability ∝ exp(−H) among all
    so far, by one uniform number u that is stretched again after each use.
    """

    def leaf(
        q: Tensor, r: Tensor, g: Tensor, pick_q: Tensor, pick_u: Tensor, pick_g: Tensor, log_weight: Tensor,
        total: Tensor, accepted: Tensor, leaves: Tensor, divergent: Tensor, alive: Tensor, u: Tensor,
        h: Tensor, inverse_mass: Tensor, energy: Tensor,
    ) -> Tensors:  # fmt: skip
        half = r - 0.5 * h * g
        q_new = q + h * inverse_mass * half
        value, gradient = potential(q_new)
        r_new = half - 0.5 * h * gradient
        gain = (energy - value - 0.5 * (inverse_mass * r_new.square()).sum(1)).nan_to_num(nan=-torch.inf)
        heavier = torch.where(alive, torch.logaddexp(log_weight, gain), log_weight)
        p = torch.where(alive, (gain - heavier).exp().nan_to_num(nan=0.0), 0.0)
        take = u < p
        tiny, below_one = torch.finfo(u.dtype).tiny, 1.0 - torch.finfo(u.dtype).eps
        u = torch.where(take, u / p.clamp_min(tiny), (u - p) / (1 - p).clamp_min(tiny)).clamp(0.0, below_one)
        end = _where(alive, (q_new, r_new, gradient), (q, r, g))
        pick = _where(take, (q_new, value, gradient), (pick_q, pick_u, pick_g))
        failed = alive & (gain < -DIVERGENT)
        return (
            *end, *pick, heavier, total + torch.where(alive[:, None], r_new, 0.0),
            accepted + torch.where(alive, gain.clamp(max=0.0).exp(), 0.0), leaves + alive, divergent | failed,
            alive & ~failed, u,
        )  # fmt: skip

    return leaf


def turn(
    alive: Tensor, inverse_mass: Tensor, first: Tensor, before: Tensor, last: Tensor, total: Tensor
) -> Tensors:
    """Return which of those alive have not turned since a checkpoint (its momentum, and Σ r up to it)."""
    return (alive & ~turning(inverse_mass, first, last, total - before + first),)


def begin(
    left_q: Tensor, left_r: Tensor, left_g: Tensor, right_q: Tensor, right_r: Tensor, right_g: Tensor,
    pick_q: Tensor, pick_u: Tensor, pick_g: Tensor, log_weight: Tensor, total: Tensor, accepted: Tensor,
    leaves: Tensor, begun: Tensor, divergent: Tensor, alive: Tensor, direction: Tensor, u: Tensor, step_size: Tensor,
) -> Tensors:  # fmt: skip
    """Return the state of an empty subtree at one end of each trajectory, whether it goes forward, and h."""
    forward = direction < 0.5
    end = _where(forward, (right_q, right_r, right_g), (left_q, left_r, left_g))
    zero = torch.zeros_like(log_weight)
    h = torch.where(forward, step_size, -step_size)[:, None]
    empty = torch.full_like(log_weight, -torch.inf)
    no = torch.zeros_like(alive)
    return (
        *end, pick_q.clone(), pick_u.clone(), pick_g.clone(), empty, torch.zeros_like(left_r), zero, zero.clone(),
        no, alive.clone(), u.clone(), forward, h,
    )  # fmt: skip


def merge(
    left_q: Tensor, left_r: Tensor, left_g: Tensor, right_q: Tensor, right_r: Tensor, right_g: Tensor,
    pick_q: Tensor, pick_u: Tensor, pick_g: Tensor, log_weight: Tensor, total: Tensor, accepted: Tensor,
    leaves: Tensor, begun: Tensor, divergent: Tensor, alive: Tensor,
    end_q: Tensor, end_r: Tensor, end_g: Tensor, new_q: Tensor, new_u: Tensor, new_g: Tensor, new_weight: Tensor,
    new_total: Tensor, new_accepted: Tensor, new_leaves: Tensor, new_divergent: Tensor, complete: Tensor,
    unused: Tensor, forward: Tensor, u: Tensor, inverse_mass: Tensor,
) -> Tensors:  # fmt: skip
    """Return trajectories with a subtree added: its pick replaces theirs with probability min(1, ratio of weights)."""
    take = complete & (u < (new_weight - log_weight).clamp(max=0.0).exp())
    end = (end_q, end_r, end_g)
    left = _where(complete & ~forward, end, (left_q, left_r, left_g))
    right = _where(complete & forward, end, (right_q, right_r, right_g))
    summed = torch.where(complete[:, None], total + new_total, total)
    return (
        *left, *right, *_where(take, (new_q, new_u, new_g), (pick_q, pick_u, pick_g)),
        torch.where(complete, torch.logaddexp(log_weight, new_weight), log_weight), summed, accepted + new_accepted,
        leaves + new_leaves, begun + alive, divergent | new_divergent,
        complete & ~turning(inverse_mass, left[1], right[1], summed),
    )  # fmt: skip
