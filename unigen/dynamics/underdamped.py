r"""Underdamped Langevin dynamics of an energy, by the splitting BAOAB.

    dx = v dt,      dv = −∇E(x) dt − γ v dt + √(2 γ T) dW,

whose stationary density is exp(−(E(x) + ½ ‖v‖²) / T) / Z: positions from the energy at temperature T, velocities
N(0, T I). One step of length h, with one gradient:

    B  v ← v − ½ h ∇E(x)        A  x ← x + ½ h v        O  v ← e^{−γh} v + √(T (1 − e^{−2γh})) ξ        A        B

γ = 0 is the velocity Verlet scheme, of order two; with γ > 0 the scheme has weak order two, and so has the bias of its
stationary density. Positions of a Gaussian energy have no bias at all. Stable for h below 2 over the largest frequency.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unigen.dynamics.langevin import Energy, energy_and_gradient
from unigen.errors import ArgumentError, DivergedError, EmptyDataError, ShapeError


def check_underdamped(steps: int, step_size: float, friction: float, temperature: float) -> None:
    """Refuse settings with which no chain can run.

    Raises:
        ArgumentError: steps < 0, step_size ≤ 0, friction < 0 or temperature ≤ 0.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ArgumentError(program="UnderdampedLangevin", site="steps", got=steps, expected="an integer ≥ 0")
    for name, value in (("step_size", step_size), ("temperature", temperature)):
        if not 0 < value < math.inf:
            raise ArgumentError(program="UnderdampedLangevin", site=name, got=value, expected="> 0")
    if not 0 <= friction < math.inf:
        raise ArgumentError(program="UnderdampedLangevin", site="friction", got=friction, expected="≥ 0")


def drifted(
    x: Tensor, v: Tensor, gradient: Tensor, xi: Tensor, h: float, friction: float, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return position and velocity after B, A, O and A: all of a step but the half kick at its end."""
    keep = math.exp(-friction * h)
    v = v - 0.5 * h * gradient
    x = x + 0.5 * h * v
    v = keep * v + math.sqrt(temperature * -math.expm1(-2 * friction * h)) * xi
    return x + 0.5 * h * v, v


def baoab(
    energy: Energy,
    x: Tensor,
    v: Tensor,
    gradient: Tensor,
    xi: Tensor,
    h: float,
    friction: float,
    temperature: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Take one step.

    Args:
        energy: Maps (N, *event) to (N,).
        x: Positions, (N, *event).
        v: Velocities, likewise.
        gradient: ∇E(x).
        xi: ξ, standard normal.
        h: Length of the step.
        friction: γ.
        temperature: T.

    Returns:
        Position, velocity and gradient after the step.
    """
    x, v = drifted(x, v, gradient, xi, h, friction, temperature)
    gradient = energy_and_gradient(energy, x)[1]
    return x, v - 0.5 * h * gradient, gradient


def underdamped(
    energy: Energy,
    x: Tensor,
    v: Tensor | None = None,
    *,
    steps: int,
    step_size: float,
    friction: float = 1.0,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Run chains, one a row, and return where they end.

    Args:
        energy: Maps (N, *event) to (N,).
        x: Starts, shape (N, *event).
        v: Velocities at the start, likewise; drawn from N(0, T I) if omitted.
        steps: Number of steps, of one gradient each and one more at the start.
        step_size: h.
        friction: γ; 0 conserves the energy up to O(h²).
        temperature: T; 1 targets exp(−E) itself.

    Returns:
        Positions and velocities, each (N, *event), detached.

    Raises:
        ArgumentError: A setting out of its range.
        ShapeError, EmptyDataError: Velocities of another shape than the positions; no chain.
        DivergedError: A chain is no longer finite; ``partial`` holds all positions and velocities before that step.

    References:
        Leimkuhler & Matthews, Rational construction of stochastic numerical methods for molecular sampling, 2013.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> x, v = underdamped(lambda x: 0.5 * x.square().sum(-1), torch.zeros(20_000, 1), steps=40, step_size=0.8)
        >>> bool((x.var() - 1).abs() < 0.05), bool((v.mean()).abs() < 0.05)
        (True, True)
    """
    check_underdamped(steps, step_size, friction, temperature)
    if x.dim() == 0 or x.numel() == 0:
        raise EmptyDataError(program="UnderdampedLangevin", got=tuple(x.shape), expected="(N, *event), N ≥ 1")
    x = x.detach()
    v = math.sqrt(temperature) * torch.randn_like(x) if v is None else v.detach()
    if v.shape != x.shape:
        raise ShapeError(program="UnderdampedLangevin", site="v", got=tuple(v.shape), expected=tuple(x.shape))
    gradient = energy_and_gradient(energy, x)[1]
    for step in range(steps):
        before = x, v
        xi = torch.randn_like(x)
        x, v, gradient = baoab(energy, x, v, gradient, xi, step_size, friction, temperature)
        finite = torch.isfinite(x) & torch.isfinite(v)
        if not bool(finite.all()):
            lost = int((~finite).flatten(1).any(1).sum())
            raise DivergedError(
                f"{lost} of {x.shape[0]} chains are no longer finite in step {step + 1}", program="UnderdampedLangevin",
                got=f"step_size={step_size:g}", expected="below 2 / the largest frequency of the energy",
                hint=f"step_size={step_size / 2:g}; the state before that step is the error's .partial", partial=before,
            )  # fmt: skip
    return x, v
