"""Interpolants: how a datum and a noise are joined by a path, z_t = alpha_t u + sigma_t eps.

    velocity  u_t = alpha' u + sigma' eps,        eps = (alpha u_t − alpha' z_t) / (alpha sigma' − sigma alpha'),

alpha(0) = 1, sigma(0) = 0 (data) and alpha(1) = 0, sigma(1) = 1 (noise), up to what a schedule leaves at its ends.
Unlike a schedule's log SNR and drift f, these four functions are finite at both ends.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from unigen.dynamics.prediction import over_events
from unigen.dynamics.schedule import Schedule, Time, VariancePreserving, VPCosine, as_time
from unigen.errors import ArgumentError


class Interpolant(ABC):
    """A signal level alpha, a noise level sigma and their derivatives at every time in [0, 1]."""

    @abstractmethod
    def alpha(self, t: Time) -> Tensor:
        """Signal level alpha(t), the shape of t."""

    @abstractmethod
    def sigma(self, t: Time) -> Tensor:
        """Noise level sigma(t), the shape of t."""

    @abstractmethod
    def alpha_rate(self, t: Time) -> Tensor:
        """d alpha / dt, the shape of t."""

    @abstractmethod
    def sigma_rate(self, t: Time) -> Tensor:
        """d sigma / dt, the shape of t."""

    def as_schedule(self) -> Schedule:
        """The same levels as a diffusion's schedule."""
        return InterpolantSchedule(self)

    def between(self, u: Tensor, eps: Tensor, t: Time) -> Tensor:
        """z_t = alpha u + sigma eps, (N, *event), of data u and noise eps, both (N, *event)."""
        t = over_events(t, u)
        return self.alpha(t) * u + self.sigma(t) * eps

    def velocity(self, u: Tensor, eps: Tensor, t: Time) -> Tensor:
        """dz_t/dt = alpha' u + sigma' eps, (N, *event)."""
        t = over_events(t, u)
        return self.alpha_rate(t) * u + self.sigma_rate(t) * eps

    def noise(self, velocity: Tensor, z_t: Tensor, t: Time) -> Tensor:
        """Noise eps behind a velocity at z_t, (N, *event); E[eps | z_t] behind an expected velocity."""
        t = over_events(t, z_t)
        alpha, alpha_rate = self.alpha(t), self.alpha_rate(t)
        return (alpha * velocity - alpha_rate * z_t) / (
            alpha * self.sigma_rate(t) - self.sigma(t) * alpha_rate
        )

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"{type(self).__name__}()"


@final
class Linear(Interpolant):
    """The straight path z_t = (1 − t) u + t eps.

    References:
        Lipman et al., Flow matching for generative modeling, 2023; Liu et al., Flow straight and fast, 2023.

    Example:
        >>> float(Linear().alpha(0.25)), float(Linear().sigma(0.25))
        (0.75, 0.25)
    """

    def alpha(self, t: Time) -> Tensor:
        """1 − t."""
        return 1.0 - as_time(t)

    def sigma(self, t: Time) -> Tensor:
        """t."""
        return as_time(t)

    def alpha_rate(self, t: Time) -> Tensor:
        """−1."""
        return -torch.ones_like(as_time(t))

    def sigma_rate(self, t: Time) -> Tensor:
        """1."""
        return torch.ones_like(as_time(t))


@final
class Trigonometric(Interpolant):
    """The quarter circle z_t = cos(πt/2) u + sin(πt/2) eps, which keeps the variance of whitened data.

    References:
        Albergo & Vanden-Eijnden, Building normalizing flows with stochastic interpolants, 2023.
    """

    def alpha(self, t: Time) -> Tensor:
        """cos(πt/2), written sin(π(1−t)/2) so that it is exactly 0 at the end."""
        return torch.sin((1.0 - as_time(t)) * (0.5 * math.pi))

    def sigma(self, t: Time) -> Tensor:
        """sin(πt/2)."""
        return torch.sin(as_time(t) * (0.5 * math.pi))

    def alpha_rate(self, t: Time) -> Tensor:
        """−π/2 sin(πt/2)."""
        return -0.5 * math.pi * self.sigma(t)

    def sigma_rate(self, t: Time) -> Tensor:
        """π/2 cos(πt/2)."""
        return 0.5 * math.pi * self.alpha(t)


@final
class VP(Interpolant):
    """The path of a variance-preserving diffusion: alpha and sigma are those of its schedule.

    Args:
        schedule: A variance-preserving schedule, e.g. ``VPCosine()``.

    Raises:
        ArgumentError: The schedule does not preserve the variance, so that it does not end in N(0, I).

    References:
        Song et al., Score-based generative modeling through SDEs, 2021; Kingma & Gao 2023.
    """

    def __init__(self, schedule: Schedule = VPCosine()) -> None:
        if not isinstance(schedule, VariancePreserving):
            raise ArgumentError(
                "an interpolant ends in the base, so that its schedule must preserve the variance",
                program="VP", site="schedule", got=schedule, expected="VPLinear(), VPCosine() or LogLinearSNR()",
            )  # fmt: skip
        schedule.check_monotone()
        self.schedule = schedule

    def as_schedule(self) -> Schedule:
        """The schedule itself."""
        return self.schedule

    def alpha(self, t: Time) -> Tensor:
        """The schedule's alpha."""
        return self.schedule.alpha(t)

    def sigma(self, t: Time) -> Tensor:
        """The schedule's sigma."""
        return self.schedule.sigma(t)

    def alpha_rate(self, t: Time) -> Tensor:
        """The schedule's d alpha / dt."""
        return self.schedule.alpha_rate(t)

    def sigma_rate(self, t: Time) -> Tensor:
        """The schedule's d sigma / dt."""
        return self.schedule.sigma_rate(t)

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"VP({self.schedule!r})"


@final
class InterpolantSchedule(Schedule):
    """An interpolant as a diffusion's schedule, whose signal level is kept from 0 by a floor.

    The floor bounds f = alpha'/alpha near t = 1, where the signal is gone. A velocity passed through the schedule comes
    back unchanged whatever the floor.

    Args:
        interpolant: Gives the levels.
        floor: Smallest alpha.

    Raises:
        ArgumentError: The floor is not in (0, 1).
    """

    def __init__(self, interpolant: Interpolant, floor: float = 1e-3) -> None:
        if not 0.0 < floor < 1.0:
            raise ArgumentError(program="InterpolantSchedule", site="floor", got=floor, expected="in (0, 1)")
        self.interpolant, self.floor = interpolant, float(floor)

    def alpha(self, t: Time) -> Tensor:
        """The interpolant's alpha, at least the floor."""
        return self.interpolant.alpha(t).clamp_min(self.floor)

    def log_alpha(self, t: Time) -> Tensor:
        """Log of alpha."""
        return torch.log(self.alpha(t))

    def sigma(self, t: Time) -> Tensor:
        """The interpolant's sigma."""
        return self.interpolant.sigma(t)

    def drift_coefficient(self, t: Time) -> Tensor:
        """alpha' / alpha."""
        return self.interpolant.alpha_rate(t) / self.alpha(t)

    def sigma_rate(self, t: Time) -> Tensor:
        """The interpolant's d sigma / dt."""
        return self.interpolant.sigma_rate(t)

    def diffusion_squared(self, t: Time) -> Tensor:
        """2 sigma (sigma' − f sigma)."""
        sigma = self.sigma(t)
        return 2.0 * sigma * (self.interpolant.sigma_rate(t) - self.drift_coefficient(t) * sigma)

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"InterpolantSchedule({self.interpolant!r}, floor={self.floor:g})"
