"""Forward processes whose variance grows, or stays below that of the variance-preserving one."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from unigen.dynamics.schedule import Schedule, Time, as_time
from unigen.errors import ArgumentError


@final
class VE(Schedule):
    """Noise added to data that are not shrunk: x + ς eps with ς from sigma_min to sigma_max, log ς linear in t.

    The state is z = x / sigma_max + …, that is x_t in units of sigma_max, so that it ends close to N(0, I) like every
    other schedule's: alpha = 1 / sigma_max at all times, sigma = (sigma_min / sigma_max)^(1 − t), f = 0.

    Args:
        sigma_min: ς at t = 0, in units of the data.
        sigma_max: ς at t = 1; large against the spread of the data.

    Raises:
        ArgumentError: Not 0 < sigma_min < sigma_max, finite.

    References:
        Song et al. 2021, Score-based generative modeling through stochastic differential equations, appendix C.

    Example:
        >>> schedule = VE(sigma_min=0.01, sigma_max=100.0)
        >>> round(float(schedule.sigma(0.5) / schedule.alpha(0.5)), 5)
        1.0
    """

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0) -> None:
        if not 0.0 < sigma_min < sigma_max < math.inf:
            raise ArgumentError(
                program="VE", got=f"sigma_min={sigma_min}, sigma_max={sigma_max}",
                expected="0 < sigma_min < sigma_max, finite",
            )  # fmt: skip
        self.sigma_min, self.sigma_max = float(sigma_min), float(sigma_max)
        self._growth = math.log(sigma_max) - math.log(sigma_min)

    def log_alpha(self, t: Time) -> Tensor:
        """−log sigma_max, at all times."""
        return torch.full_like(as_time(t), -math.log(self.sigma_max))

    def sigma(self, t: Time) -> Tensor:
        """(sigma_min / sigma_max)^(1 − t)."""
        return torch.exp((as_time(t) - 1.0) * self._growth)

    def drift_coefficient(self, t: Time) -> Tensor:
        """0."""
        return torch.zeros_like(as_time(t))

    def diffusion_squared(self, t: Time) -> Tensor:
        """g² = 2 sigma² log (sigma_max / sigma_min)."""
        return self.sigma(t).square() * (2.0 * self._growth)

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"VE(sigma_min={self.sigma_min:g}, sigma_max={self.sigma_max:g})"


@final
class SubVP(Schedule):
    """The signal of `VPLinear` with less noise: sigma = 1 − exp(−B) in place of its root.

    alpha = exp(−B/2), f = −beta/2, g² = beta (1 − exp(−2B)), B(t) = beta_min t + t² (beta_max − beta_min) / 2.

    Args:
        beta_min: Rate at t = 0.
        beta_max: Rate at t = 1.

    Raises:
        ArgumentError: Not 0 < beta_min <= beta_max, finite.

    References:
        Song et al. 2021, Score-based generative modeling through stochastic differential equations, appendix B.

    Example:
        >>> round(float(SubVP().sigma(1.0)), 6)
        0.999957
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        if not 0.0 < beta_min <= beta_max < math.inf:
            raise ArgumentError(
                program="SubVP", got=f"beta_min={beta_min}, beta_max={beta_max}",
                expected="0 < beta_min <= beta_max, finite",
            )  # fmt: skip
        self.beta_min, self.beta_max = float(beta_min), float(beta_max)

    def _rate(self, t: Time) -> Tensor:
        return as_time(t) * (self.beta_max - self.beta_min) + self.beta_min

    def _integrated(self, t: Time) -> Tensor:
        t = as_time(t)
        return t * (t * (0.5 * (self.beta_max - self.beta_min)) + self.beta_min)

    def log_alpha(self, t: Time) -> Tensor:
        """−B/2."""
        return -0.5 * self._integrated(t)

    def sigma(self, t: Time) -> Tensor:
        """1 − exp(−B), without cancellation near t = 0."""
        return -torch.expm1(-self._integrated(t))

    def drift_coefficient(self, t: Time) -> Tensor:
        """−beta/2."""
        return -0.5 * self._rate(t)

    def diffusion_squared(self, t: Time) -> Tensor:
        """g² = beta (1 − exp(−2B))."""
        return self._rate(t) * -torch.expm1(-2.0 * self._integrated(t))

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"SubVP(beta_min={self.beta_min:g}, beta_max={self.beta_max:g})"
