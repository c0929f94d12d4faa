"""Reference processes of bridges: Brownian motion and the Ornstein–Uhlenbeck process on times 0 … 1.

    dX = −rate X dt + sigma dW,      X_{s+h} | X_s = x ~ N(decay(h) x, variance(h) I),
    decay(h) = exp(−rate h),         variance(h) = sigma² (1 − exp(−2 rate h)) / (2 rate),   sigma² h if rate = 0

Notation: x (N, *event); t () or (N,); x_0 and x_1 the ends of a bridge, shaped like x.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from unigen.errors import ArgumentError


def over_events(t: Tensor | float, x: Tensor) -> Tensor:
    """Return times, () or (N,), in a shape that broadcasts over the events of x (N, *event)."""
    t = torch.as_tensor(t, dtype=x.dtype, device=x.device)
    return t.reshape(*t.shape, *(1,) * (x.dim() - t.dim())) if t.dim() else t


class Reference(ABC):
    """A linear diffusion between whose ends bridges are drawn; final classes below.

    Attributes:
        rate: Speed of the pull to the origin, ≥ 0.
        sigma: Diffusion coefficient, > 0.
    """

    rate: float
    sigma: float

    @abstractmethod
    def decay(self, h: Tensor) -> Tensor:
        """exp(−rate h), the shape of h."""

    @abstractmethod
    def variance(self, h: Tensor) -> Tensor:
        """Variance of X_{s+h} given X_s, the shape of h."""

    def drift(self, t: Tensor | float, x: Tensor) -> Tensor:
        """Drift of the process itself, −rate x, shaped like x; it does not depend on t."""
        return -self.rate * x

    def weights(self, s: Tensor | float, t: Tensor | float, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the law of X_t given X_s and X_1, for s ≤ t ≤ 1 and s < 1.

        X_t ~ N(a X_s + b X_1, v I),   a = decay(t − s) variance(1 − t) / variance(1 − s),
        b = decay(1 − t) variance(t − s) / variance(1 − s),   v = variance(t − s) variance(1 − t) / variance(1 − s)

        Args:
            s: Earlier time, () or (N,).
            t: Later time, () or (N,).
            like: A tensor (N, *event), for type, device and rank.

        Returns:
            a, b and v, in a shape that broadcasts over ``like``.
        """
        s, t = over_events(s, like), over_events(t, like)
        past, ahead, whole = self.variance(t - s), self.variance(1 - t), self.variance(1 - s)
        return self.decay(t - s) * ahead / whole, self.decay(1 - t) * past / whole, past * ahead / whole

    def pull_forward(self, t: Tensor | float, x: Tensor, x_1: Tensor) -> Tensor:
        """Drift at x of the bridge to x_1, forward in time, t < 1.

        −rate x + sigma² decay(1 − t) (x_1 − decay(1 − t) x) / variance(1 − t)
        """
        h = 1 - over_events(t, x)
        a = self.decay(h)
        return self.drift(t, x) + self.sigma**2 * a * (x_1 - a * x) / self.variance(h)

    def pull_backward(self, t: Tensor | float, x: Tensor, x_0: Tensor) -> Tensor:
        """Drift at x of the bridge to x_0, per unit of time that runs backward, t > 0.

        rate x + sigma² (decay(t) x_0 − x) / variance(t)
        """
        h = over_events(t, x)
        return self.sigma**2 * (self.decay(h) * x_0 - x) / self.variance(h) - self.drift(t, x)


def _check(name: str, **values: float) -> None:
    for site, value in values.items():
        if isinstance(value, bool) or not (0 < value < math.inf):
            hint = "BrownianMotion(sigma) has rate 0" if site == "rate" else None
            raise ArgumentError(program=name, site=site, got=value, expected="a positive number", hint=hint)


@final
class BrownianMotion(Reference):
    """Brownian motion scaled by sigma.

    dX = sigma dW

    Args:
        sigma: Diffusion coefficient; sigma² is the regularisation of the entropic transport that its Schrödinger
            bridge solves for the cost ½‖x − y‖².

    Raises:
        ArgumentError: sigma is not positive.

    References:
        Léonard, A survey of the Schrödinger problem and some of its connections with optimal transport, 2014.

    Example:
        >>> float(BrownianMotion(2.0).variance(torch.tensor(0.5)))
        2.0
    """

    def __init__(self, sigma: float = 1.0) -> None:
        _check("BrownianMotion", sigma=sigma)
        self.sigma, self.rate = float(sigma), 0.0

    def decay(self, h: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(h)

    def variance(self, h: Tensor) -> Tensor:
        """sigma² h."""
        return self.sigma**2 * h

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"BrownianMotion(sigma={self.sigma:g})"


@final
class OrnsteinUhlenbeck(Reference):
    """The Ornstein–Uhlenbeck process, pulled to the origin.

    dX = −rate X dt + sigma dW

    Args:
        rate: Speed of the pull.
        sigma: Diffusion coefficient.

    Raises:
        ArgumentError: Either is not positive.

    References:
        Uhlenbeck & Ornstein, On the theory of the Brownian motion, 1930.

    Example:
        >>> process = OrnsteinUhlenbeck(rate=1.0, sigma=1.0)
        >>> round(float(process.variance(torch.tensor(1.0))), 4)
        0.4323
    """

    def __init__(self, rate: float = 1.0, sigma: float = 1.0) -> None:
        _check("OrnsteinUhlenbeck", rate=rate, sigma=sigma)
        self.rate, self.sigma = float(rate), float(sigma)

    def decay(self, h: Tensor) -> Tensor:
        """exp(−rate h)."""
        return torch.exp(-self.rate * h)

    def variance(self, h: Tensor) -> Tensor:
        """sigma² (1 − exp(−2 rate h)) / (2 rate)."""
        return self.sigma**2 * -torch.expm1(-2 * self.rate * h) / (2 * self.rate)

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"OrnsteinUhlenbeck(rate={self.rate:g}, sigma={self.sigma:g})"
