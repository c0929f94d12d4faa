"""How much signal and how much noise there is at each time.

Notation, used in every file that handles diffusion: x_0 is data, eps is standard normal, and

    x_t = alpha_t x_0 + sigma_t eps,        t from 0 (data) to 1 (noise),
    log SNR = log alpha_t² / sigma_t²,      strictly decreasing in t,
    dx = f(t) x dt + g(t) dW,               f = d log alpha / dt,   g² = d sigma² / dt − 2 f sigma².

Times are numbers or tensors of any shape. Numbers are checked to lie in [0, 1] at every call; tensors are checked where
they come in from outside, by `Schedule.check`, because losses evaluate schedules inside a traced graph.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from unigen.errors import ArgumentError

Time = Tensor | float


def as_time(t: Time) -> Tensor:
    """Time as a tensor; a number outside [0, 1] is refused."""
    if isinstance(t, Tensor):
        return t
    if not 0.0 <= t <= 1.0:
        raise ArgumentError("a time outside the unit interval", got=t, expected="0 (data) to 1 (noise)")
    return torch.tensor(float(t), dtype=torch.get_default_dtype())


class Schedule(ABC):
    """A signal level alpha and a noise level sigma for every time in [0, 1]."""

    @abstractmethod
    def log_alpha(self, t: Time) -> Tensor:
        """Log signal level log alpha(t), the shape of t."""

    @abstractmethod
    def sigma(self, t: Time) -> Tensor:
        """Noise level sigma(t) ≥ 0, the shape of t."""

    @abstractmethod
    def drift_coefficient(self, t: Time) -> Tensor:
        """f(t) = d log alpha / dt, the shape of t."""

    @abstractmethod
    def diffusion_squared(self, t: Time) -> Tensor:
        """g²(t) = d sigma² / dt − 2 f sigma² = −sigma² d log SNR / dt, the shape of t."""

    def alpha(self, t: Time) -> Tensor:
        """Signal level alpha(t), the shape of t."""
        return torch.exp(self.log_alpha(t))

    def log_snr(self, t: Time) -> Tensor:
        """Log signal-to-noise ratio log alpha² / sigma², the shape of t."""
        return 2.0 * (self.log_alpha(t) - torch.log(self.sigma(t)))

    def alpha_rate(self, t: Time) -> Tensor:
        """d alpha / dt = f alpha, the shape of t."""
        return self.drift_coefficient(t) * self.alpha(t)

    def sigma_rate(self, t: Time) -> Tensor:
        """d sigma / dt = (g²/2 + f sigma²) / sigma, the shape of t; infinite where sigma is 0."""
        sigma = self.sigma(t)
        return 0.5 * self.diffusion_squared(t) / sigma + self.drift_coefficient(t) * sigma

    def time_at(self, log_snr: Tensor) -> Tensor | None:
        """The inverse of ``log_snr`` where it has a closed form, else None; `time_of_snr` inverts any schedule."""
        return None

    def check(self, t: Time) -> Tensor:
        """Refuse times outside [0, 1].

        Args:
            t: Times, any shape.

        Returns:
            The times as a tensor.

        Raises:
            ArgumentError: A time is outside [0, 1] or not a number.
        """
        times = as_time(t)
        if not bool(((times >= 0.0) & (times <= 1.0)).all()):
            low, high = float(times.min()), float(times.max())
            raise ArgumentError(
                "times outside the unit interval", got=f"[{low:g}, {high:g}]", expected="[0, 1]"
            )
        return times

    def check_monotone(self, points: int = 257) -> None:
        """Refuse a schedule whose log SNR does not fall strictly from 0 to 1.

        Args:
            points: Number of equally spaced times looked at.

        Raises:
            ArgumentError: The log SNR rises, stands still or is not a number somewhere.
        """
        times = torch.linspace(0.0, 1.0, points, dtype=torch.float64)
        fall = -torch.diff(self.log_snr(times))
        if not bool((fall > 0.0).all()):
            where = float(times[int(torch.argmin(torch.where(fall > 0.0, 1.0, 0.0)))])
            raise ArgumentError(
                "the log SNR of a schedule must fall strictly", program=type(self).__name__,
                got=f"no fall after t={where:g}", expected="a strictly decreasing log_snr(t)",
            )  # fmt: skip


class VariancePreserving(Schedule):
    """alpha² + sigma² = 1, given by the rate beta(t) and its integral B(t) = −log alpha².

    alpha = exp(−B/2), sigma² = 1 − exp(−B), f = −beta/2, g² = beta.
    """

    @abstractmethod
    def rate(self, t: Time) -> Tensor:
        """beta(t), the shape of t."""

    @abstractmethod
    def integrated_rate(self, t: Time) -> Tensor:
        """B(t) = −log alpha(t)², the shape of t."""

    @final
    def log_alpha(self, t: Time) -> Tensor:
        """Log signal level −B/2."""
        return -0.5 * self.integrated_rate(t)

    @final
    def sigma(self, t: Time) -> Tensor:
        """Noise level, without cancellation near t = 0."""
        return torch.sqrt(-torch.expm1(-self.integrated_rate(t)))

    @final
    def drift_coefficient(self, t: Time) -> Tensor:
        """f = −beta/2."""
        return -0.5 * self.rate(t)

    @final
    def diffusion_squared(self, t: Time) -> Tensor:
        """g² = beta."""
        return self.rate(t)


@final
class VPLinear(VariancePreserving):
    """The rate beta grows linearly: beta(t) = beta_min + t (beta_max − beta_min).

    Args:
        beta_min: Rate at t = 0.
        beta_max: Rate at t = 1.

    References:
        Song et al. 2021, Score-based generative modeling through stochastic differential equations.

    Example:
        >>> round(float(VPLinear().alpha(1.0)), 6)
        0.00657
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        if not 0.0 < beta_min <= beta_max < math.inf:
            raise ArgumentError(
                program="VPLinear", got=f"beta_min={beta_min}, beta_max={beta_max}",
                expected="0 < beta_min <= beta_max, finite",
            )  # fmt: skip
        self.beta_min, self.beta_max = float(beta_min), float(beta_max)

    def rate(self, t: Time) -> Tensor:
        """beta(t) = beta_min + t (beta_max − beta_min)."""
        return as_time(t) * (self.beta_max - self.beta_min) + self.beta_min

    def integrated_rate(self, t: Time) -> Tensor:
        """B(t) = beta_min t + t² (beta_max − beta_min) / 2."""
        t = as_time(t)
        return t * (t * (0.5 * (self.beta_max - self.beta_min)) + self.beta_min)

    def time_at(self, log_snr: Tensor) -> Tensor:
        """The root of B(t) = log(1 + 1 / SNR)."""
        wanted = torch.nn.functional.softplus(-log_snr, threshold=50.0)
        root = torch.sqrt(self.beta_min**2 + 2.0 * (self.beta_max - self.beta_min) * wanted)
        return 2.0 * wanted / (self.beta_min + root)

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"VPLinear(beta_min={self.beta_min:g}, beta_max={self.beta_max:g})"


def _check_snr(name: str, snr_max: float, snr_min: float) -> tuple[float, float]:
    """Log SNR at t = 0 and t = 1, in that order, or a refusal."""
    if not 0.0 < snr_min < snr_max < math.inf:
        raise ArgumentError(
            program=name,
            got=f"snr_max={snr_max}, snr_min={snr_min}",
            expected="0 < snr_min < snr_max, finite",
        )
    return math.log(snr_max), math.log(snr_min)


@final
class VPCosine(VariancePreserving):
    """A quarter circle at constant speed: alpha = cos θ, sigma = sin θ, θ linear in t.

    The ends of θ are set by the SNR there, so that no rate is infinite.

    Args:
        snr_max: SNR at t = 0.
        snr_min: SNR at t = 1.

    References:
        Nichol & Dhariwal 2021; Hoogeboom et al. 2023, simple diffusion.

    Example:
        >>> round(float(VPCosine().log_snr(0.5)), 6)
        0.0
    """

    def __init__(self, snr_max: float = math.exp(12.0), snr_min: float = math.exp(-12.0)) -> None:
        log_snr_max, log_snr_min = _check_snr("VPCosine", snr_max, snr_min)
        self.snr_max, self.snr_min = float(snr_max), float(snr_min)
        self._start = math.atan(math.exp(-0.5 * log_snr_max))
        self._rest = math.atan(math.exp(0.5 * log_snr_min))  # π/2 − θ at t = 1
        self._speed = 0.5 * math.pi - self._rest - self._start

    def _angles(self, t: Time) -> tuple[Tensor, Tensor]:
        """θ, exact where it is small, and π/2 − θ, exact where that is small."""
        t = as_time(t)
        return t * self._speed + self._start, (1.0 - t) * self._speed + self._rest

    def rate(self, t: Time) -> Tensor:
        """beta(t) = 2 θ' tan θ."""
        angle, complement = self._angles(t)
        return torch.sin(angle) / torch.sin(complement) * (2.0 * self._speed)

    def integrated_rate(self, t: Time) -> Tensor:
        """B(t) = −2 log cos θ, written −log(1 − sin² θ) where θ is small."""
        angle, complement = self._angles(t)
        small = -torch.log1p(-(torch.sin(angle.clamp(max=0.25 * math.pi)) ** 2))
        return torch.where(angle < 0.25 * math.pi, small, -2.0 * torch.log(torch.sin(complement)))

    def time_at(self, log_snr: Tensor) -> Tensor:
        """From θ = atan SNR^(−½)."""
        return (torch.atan(torch.exp(-0.5 * log_snr)) - self._start) / self._speed

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"VPCosine(snr_max={self.snr_max:g}, snr_min={self.snr_min:g})"


@final
class LogLinearSNR(VariancePreserving):
    """The log SNR falls linearly from log snr_max to log snr_min (defaults: 9 and −7).

    Args:
        snr_max: SNR at t = 0.
        snr_min: SNR at t = 1.

    References:
        Kingma et al. 2021, Variational diffusion models.

    Example:
        >>> round(float(LogLinearSNR().log_snr(0.5)), 4)
        1.0
    """

    def __init__(self, snr_max: float = math.exp(9.0), snr_min: float = math.exp(-7.0)) -> None:
        self._start, end = _check_snr("LogLinearSNR", snr_max, snr_min)
        self.snr_max, self.snr_min = float(snr_max), float(snr_min)
        self._fall = self._start - end

    def rate(self, t: Time) -> Tensor:
        """beta(t) = sigma² (log snr_max − log snr_min)."""
        return torch.sigmoid(as_time(t) * self._fall - self._start) * self._fall

    def integrated_rate(self, t: Time) -> Tensor:
        """B(t) = softplus(−log SNR)."""
        return -torch.nn.functional.logsigmoid(self._start - as_time(t) * self._fall)

    def time_at(self, log_snr: Tensor) -> Tensor:
        """(log snr_max − log SNR) / (log snr_max − log snr_min)."""
        return (self._start - log_snr) / self._fall

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"LogLinearSNR(snr_max={self.snr_max:g}, snr_min={self.snr_min:g})"
