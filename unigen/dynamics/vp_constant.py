"""The variance-preserving schedule of constant rate: an Ornstein–Uhlenbeck process."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from unigen.dynamics.schedule import Time, VariancePreserving, as_time
from unigen.errors import ArgumentError


@final
class VPConstant(VariancePreserving):
    """The Ornstein–Uhlenbeck process dx = −theta x dt + √(2 theta) dW, stationary at N(0, I).

    alpha = exp(−theta t), sigma² = 1 − exp(−2 theta t), beta = 2 theta.

    Args:
        theta: Rate of the pull towards 0.

    Raises:
        ArgumentError: theta is not positive.

    References:
        Uhlenbeck & Ornstein 1930, On the theory of the Brownian motion.

    Example:
        >>> round(float(VPConstant(theta=2.0).alpha(0.5)), 6)
        0.367879
    """

    def __init__(self, theta: float = 5.0) -> None:
        if not 0.0 < theta < math.inf:
            raise ArgumentError(program="VPConstant", site="theta", got=theta, expected="a positive number")
        self.theta = float(theta)

    def rate(self, t: Time) -> Tensor:
        """beta = 2 theta."""
        return torch.full_like(as_time(t), 2.0 * self.theta)

    def integrated_rate(self, t: Time) -> Tensor:
        """B(t) = 2 theta t."""
        return as_time(t) * (2.0 * self.theta)

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"VPConstant(theta={self.theta:g})"
