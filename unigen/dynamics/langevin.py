"""Langevin dynamics of an energy: the step that samplers and contrastive losses share.

    x' = x − h ∇E(x) + √(2 h T) ξ,    ξ ~ N(0, I),

whose stationary density tends to exp(−E(x) / T) / Z as h → 0. At a finite h it is biased: for E = ½x², T = 1 the
variance is 1 / (1 − h/2). The Metropolis–Hastings correction (MALA) removes the bias: accept x' with probability

    min(1, exp(−(E(x') − E(x)) / T) q(x | x') / q(x' | x)),    q(x' | x) = N(x − h ∇E(x), 2 h T I).

Each row of x is a chain of its own. Nothing branches on values, so a loss that runs chains can be traced.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unigen.errors import ArgumentError, ShapeError, UnsupportedQueryError

Energy = Callable[[Tensor], Tensor]  # x (N, *event) -> E(x) (N,)


def check_langevin(steps: int, step_size: float, temperature: float) -> None:
    """Refuse settings with which no chain can run.

    Raises:
        ArgumentError: steps < 0, step_size ≤ 0 or temperature ≤ 0.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ArgumentError(program="Langevin", site="steps", got=steps, expected="an integer ≥ 0")
    if not step_size > 0:
        raise ArgumentError(program="Langevin", site="step_size", got=step_size, expected="> 0")
    if not temperature > 0:
        raise ArgumentError(program="Langevin", site="temperature", got=temperature, expected="> 0")


def energy_and_gradient(energy: Energy, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return (E(x), ∇E(x)), detached, whether or not gradients are switched on around the call.

    Args:
        energy: Maps (N, *event) to (N,).
        x: Shape (N, *event).

    Returns:
        Shapes (N,) and (N, *event), in nats and nats per unit of x.

    Raises:
        ShapeError: The energy is not one number a row.
        UnsupportedQueryError: It has no gradient in x.
    """
    with torch.enable_grad():
        at = x.detach().requires_grad_(True)
        value = energy(at)
        check_energy(value, at)
        gradient = torch.autograd.grad(value.sum(), at, allow_unused=True)[0]
    if gradient is None:
        raise no_gradient()
    return value.detach(), gradient.detach()


def check_energy(value: Tensor, x: Tensor) -> None:
    """Refuse what is no energy of rows x (N, *event).

    Raises:
        ShapeError: It is not one number a row.
        UnsupportedQueryError: It has no gradient.
    """
    if value.shape != x.shape[:1]:
        raise ShapeError(
            "the energy must be one number an example", site="energy", got=tuple(value.shape),
            expected=tuple(x.shape[:1]), hint="a sum over the axes of one example: E(x).flatten(1).sum(1)",
        )  # fmt: skip
    if not value.requires_grad:
        raise no_gradient()


def no_gradient() -> UnsupportedQueryError:
    """Return the error to raise where an energy has no gradient."""
    return UnsupportedQueryError(
        "the energy has no gradient in x", site="energy", got="a value detached from x",
        hint="no .detach(), .item(), NumPy or torch.no_grad() between x and E(x)",
    )  # fmt: skip


def langevin(
    energy: Energy, x: Tensor, *, steps: int, step_size: float | Tensor, temperature: float = 1.0
) -> Tensor:
    """Run unadjusted Langevin chains and return where they end.

    Args:
        energy: Maps (N, *event) to (N,).
        x: Starts, shape (N, *event).
        steps: Number of steps.
        step_size: h, a number or a tensor of shape (1,).
        temperature: T; 1 targets the density itself.

    Returns:
        Shape (N, *event), detached.

    References:
        Roberts & Tweedie, Exponential convergence of Langevin distributions, 1996.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> x = langevin(lambda x: 0.5 * x.square().sum(-1), torch.zeros(20_000, 1), steps=100, step_size=0.1)
        >>> bool((x.var() - 1 / 0.95).abs() < 0.06)
        True
    """
    x, noise = x.detach(), (2.0 * step_size * temperature) ** 0.5
    for _ in range(steps):
        x = x - step_size * energy_and_gradient(energy, x)[1] + noise * torch.randn_like(x)
    return x


def metropolis_langevin(
    energy: Energy, x: Tensor, *, steps: int, step_size: float | Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Run Metropolis-adjusted Langevin chains; they leave exp(−E/T)/Z invariant at any step size.

    Args:
        energy: Maps (N, *event) to (N,); it must be the same function at every call (no noise inside).
        x: Starts, shape (N, *event).
        steps: Number of steps.
        step_size: h, a number or a tensor of shape (1,).
        temperature: T.

    Returns:
        The ends, shape (N, *event), and the fraction of proposals accepted by each chain, shape (N,).

    References:
        Besag 1994; Roberts & Tweedie 1996.
    """
    x, noise = x.detach(), (2.0 * step_size * temperature) ** 0.5
    value, gradient = energy_and_gradient(energy, x)
    accepted = torch.zeros_like(value)
    for _ in range(steps):
        proposal = x - step_size * gradient + noise * torch.randn_like(x)
        new_value, new_gradient = energy_and_gradient(energy, proposal)
        forward = (proposal - x + step_size * gradient).flatten(1).square().sum(1)
        back = (x - proposal + step_size * new_gradient).flatten(1).square().sum(1)
        log_ratio = (value - new_value) / temperature + (forward - back) / (4.0 * step_size * temperature)
        accept = torch.rand_like(value).log() < log_ratio  # a NaN ratio rejects
        rows = accept.reshape(-1, *(1,) * (x.dim() - 1))
        x, gradient = torch.where(rows, proposal, x), torch.where(rows, new_gradient, gradient)
        value, accepted = torch.where(accept, new_value, value), accepted + accept
    return x, accepted / max(steps, 1)
