"""Static Hamiltonian Monte Carlo, many chains side by side: L leapfrog steps and one Metropolis decision.

    H(q, r) = U(q) + ½ Σ_d m_d r_d²,     r ~ N(0, 1/m),     accept with probability min(1, exp(H(q, r) − H(q', r')))

Notation: C chains, D dimensions, U = −log density, m the inverse mass (variances of q). A transition has the step size
h (1 + j (2u − 1)), u uniform and j the jitter, drawn before the trajectory: it leaves the density invariant, and no
frequency of the density can resonate with the length of the trajectory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.dynamics.nuts import Point, Transition
from unigen.dynamics.tree import DIVERGENT, Potential, Tensors

Leap = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensors]


@dataclass(frozen=True)
class StaticNoise:
    """The random numbers of one transition, all independent.

    Args:
        momentum: Standard normal, shape (C, D).
        accept: Uniform, shape (C,).
        jitter: Uniform, shape (C,).
    """

    momentum: Tensor
    accept: Tensor
    jitter: Tensor


def leap_of(potential: Potential) -> Leap:
    """Return one leapfrog step of all chains, (q, r, g, −½h, h m) ↦ (q, r, g, U).

    −½h has shape (C, 1) and h m shape (C, D): both are the same for a whole trajectory, and each update is then one
    fused operation.
    """

    def leap(q: Tensor, r: Tensor, g: Tensor, kick: Tensor, drift: Tensor) -> Tensors:
        half = torch.addcmul(r, kick, g)
        q = torch.addcmul(q, drift, half)
        value, gradient = potential(q)
        return q, torch.addcmul(half, kick, gradient), gradient, value

    return leap


def hmc_transition(
    leap: Leap,
    at: Point,
    step_size: Tensor,
    inverse_mass: Tensor,
    noise: StaticNoise,
    leaps: int,
    jitter: float,
) -> Transition:
    """Make one transition of each chain that leaves exp(−U) invariant.

    Args:
        leap: ``leap_of(potential)`` or its compiled form.
        at: Where the chains stand.
        step_size: h, shape (C,).
        inverse_mass: m, shape (C, D).
        noise: Random numbers.
        leaps: Number of leapfrog steps L ≥ 1.
        jitter: j in [0, 1).

    References:
        Duane et al. 1987; Neal, MCMC using Hamiltonian dynamics, 2011 (section 3.2 on random step sizes).
    """
    h = (step_size * (1 + jitter * (2 * noise.jitter - 1)))[:, None]
    energy = at.potential + 0.5 * noise.momentum.square().sum(1)
    q, r, g, value = at.q, noise.momentum / inverse_mass.sqrt(), at.gradient, at.potential
    kick, drift = -0.5 * h, h * inverse_mass
    for _ in range(leaps):
        q, r, g, value = leap(q, r, g, kick, drift)
    gain = (energy - value - 0.5 * (inverse_mass * r.square()).sum(1)).nan_to_num(nan=-torch.inf)
    probability = gain.clamp(max=0.0).exp()
    take = noise.accept < probability
    rows = take[:, None]
    point = Point(
        torch.where(rows, q, at.q), torch.where(take, value, at.potential), torch.where(rows, g, at.gradient)
    )
    steps = torch.full_like(energy, float(leaps))
    return Transition(point, probability, steps, gain < -DIVERGENT, energy, torch.zeros_like(energy))
