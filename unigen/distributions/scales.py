"""Positive scales from free numbers: σ = floor + log(1 + exp(ρ + ρ₀)), with ρ₀ such that ρ = 0 gives σ = 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

FLOOR = 1e-3  # smallest scale


def inverse_softplus(y: float) -> float:
    """Return ρ with log(1 + exp ρ) = y, for y > 0."""
    return y + math.log(-math.expm1(-y))


def positive(rho: Tensor, floor: float = FLOOR) -> Tensor:
    """Return σ > floor."""
    return floor + softplus(rho + inverse_softplus(1.0 - floor))


def raw_scale(sigma: Tensor, floor: float = FLOOR) -> Tensor:
    """Return ρ with ``positive(ρ) = σ``; scales below 1.01 · floor are raised to it."""
    y = (sigma - floor).clamp_min(0.01 * floor)
    return y + torch.log(-torch.expm1(-y)) - inverse_softplus(1.0 - floor)
