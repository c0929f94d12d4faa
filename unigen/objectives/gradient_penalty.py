"""Penalties on the slope of a critic: what keeps it smooth, and a game with it converging.

R1            γ/2 E_p ‖∇f‖²
gradient      λ E (‖∇f(u x + (1 − u) y)‖ − 1)₊²,  u uniform, x data, y draws
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError
from unigen.nn.critic import input_gradient


def check_r1(r1: float, game: str) -> float:
    """Return γ, or refuse it.

    Raises:
        ArgumentError: γ < 0.
    """
    if not r1 >= 0:
        raise ArgumentError(program=game, site="r1", got=r1, expected="≥ 0")
    return r1


def r1_penalty(critic: nn.Module, x: Tensor, context: Tensor | None, gamma: float) -> Tensor:
    """Return γ/2 E_p ‖∇f‖² over data x (N, *event), a scalar.

    References:
        Mescheder, Geiger & Nowozin, Which training methods for GANs do actually converge?, 2018.
    """
    return 0.5 * gamma * input_gradient(critic, x, context).square().sum(1).mean()


def slope_penalty(
    critic: nn.Module, x: Tensor, y: Tensor, context: Tensor | None, weight: float, two_sided: bool
) -> Tensor:
    """Return λ E (‖∇f‖ − 1)₊² at uniform points between x and y (N, *event), a scalar; squared on both sides if asked.

    References:
        Gulrajani et al., Improved training of Wasserstein GANs, 2017; Petzka, Fischer & Lukovnikov, On the
        regularization of Wasserstein GANs, 2018.
    """
    u = torch.rand(x.shape[0], *(1,) * (x.dim() - 1), dtype=x.dtype, device=x.device)
    gradient = input_gradient(critic, u * x + (1 - u) * y, context)
    slope = (gradient.square().sum(1) + 1e-12).sqrt()  # differentiable at a flat critic
    excess = slope - 1 if two_sided else (slope - 1).clamp_min(0.0)
    return weight * excess.square().mean()
