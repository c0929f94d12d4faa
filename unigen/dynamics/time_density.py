"""How times of a diffusion loss are spread over the levels of noise: importance sampling with known densities.

    ∫_start^1 h(t) dt / (1 − start) = E_{t ~ p} [ factor(t) h(t) ],      factor = 1 / ((1 − start) p(t)),

so that every loss and bound stays what it is, whatever p; only its variance changes. Numbers u uniform on [0, 1), as
`times.py` draws them, independent, even or antithetic, are carried to t by the inverse distribution function of p.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from unigen.dynamics.schedule import Schedule
from unigen.dynamics.time_of_snr import bisect
from unigen.errors import ArgumentError

CELLS, ROUNDS, PARTS = (
    1024,
    9,
    4,
)  # times to within 4e-9 of their quantile; the factor is that of the time itself


class TimeDensity(ABC):
    """A density of times on [start, 1]."""

    @abstractmethod
    def place(self, u: Tensor, schedule: Schedule, start: float) -> tuple[Tensor, Tensor]:
        """Carry uniform numbers to times.

        Args:
            u: In [0, 1), (N,).
            schedule: Signal and noise levels.
            start: Smallest time.

        Returns:
            Times and their factors 1 / ((1 − start) p(t)), each (N,), without gradient.
        """

    @abstractmethod
    def check(self, schedule: Schedule, start: float) -> None:
        """Refuse a schedule on which the density is not defined.

        Raises:
            ArgumentError: It is not.
        """

    def __repr__(self) -> str:
        """The call that builds it."""
        options = ", ".join(f"{name}={value:g}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"


@torch.no_grad()
def _ends(schedule: Schedule, start: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Log SNR at start and at 1, each (), in float64."""
    first, last = schedule.log_snr(torch.tensor([start, 1.0], dtype=torch.float64, device=like.device))
    return first, last


def _invert(schedule: Schedule, log_snr: Tensor, start: float) -> Tensor:
    """The times in [start, 1] of the given log SNRs: the cell of a table first, then bisection."""
    grid = torch.linspace(start, 1.0, CELLS + 1, dtype=torch.float64, device=log_snr.device)
    cell = torch.searchsorted(-schedule.log_snr(grid), -log_snr, right=True) - 1
    return bisect(schedule, log_snr, grid[cell.clamp(0, CELLS - 1)], (1.0 - start) / CELLS, ROUNDS, PARTS)


def _check_ends(name: str, schedule: Schedule, start: float) -> tuple[float, float]:
    first, last = (float(end) for end in _ends(schedule, start, torch.zeros(())))
    if not (math.isfinite(first) and math.isfinite(last)):
        raise ArgumentError(
            "times by log SNR need finite ends", program=name, site="schedule",
            got=f"log SNR {first:g} at t = {start:g} and {last:g} at t = 1", expected="finite numbers",
            hint="UniformTime()",
        )  # fmt: skip
    return first, last


@final
class UniformTime(TimeDensity):
    """p(t) = 1 / (1 − start): nothing is changed."""

    def place(self, u: Tensor, schedule: Schedule, start: float) -> tuple[Tensor, Tensor]:
        """Start + (1 − start) u, and 1."""
        return u if start == 0.0 else u * (1.0 - start) + start, torch.ones_like(u)

    def check(self, schedule: Schedule, start: float) -> None:
        """Nothing can go wrong."""


@final
class UniformLogSNR(TimeDensity):
    """p(t) = (g²/sigma²) / (λ_start − λ_1): log SNR uniform, the importance sampling of the likelihood.

    Under `LikelihoodWeighting` every level of log SNR then has the same weight, ½ (λ_start − λ_1).

    References:
        Song et al. 2021, Maximum likelihood training of score-based diffusion models, section 5; Kingma et al. 2021.

    Example:
        >>> from unigen.dynamics.schedule import LogLinearSNR
        >>> t, factor = UniformLogSNR().place(torch.tensor([0.0, 0.25]), LogLinearSNR(), 0.0)
        >>> t.round(decimals=4), factor.round(decimals=4)
        (tensor([0.0000, 0.2500]), tensor([1., 1.]))
    """

    @torch.no_grad()
    def place(self, u: Tensor, schedule: Schedule, start: float) -> tuple[Tensor, Tensor]:
        """λ⁻¹(λ_start − u (λ_start − λ_1)), and (λ_start − λ_1) sigma² / ((1 − start) g²)."""
        first, last = _ends(schedule, start, u)
        t = _invert(schedule, first + u.double() * (last - first), start)
        rate = schedule.diffusion_squared(t) / schedule.sigma(t).square()
        return t.to(u.dtype), ((first - last) / ((1.0 - start) * rate)).to(u.dtype)

    def check(self, schedule: Schedule, start: float) -> None:
        """Refuse a schedule without signal at t = 1.

        Raises:
            ArgumentError: The log SNR has an infinite end.
        """
        _check_ends("UniformLogSNR", schedule, start)


@final
class LogNormalNoise(TimeDensity):
    """Log ς ~ N(mean, std²) for the noise level ς = sigma/alpha, cut off at the ends of the schedule.

    p(t) = φ((log ς − mean)/std) / (std mass) · g² / (2 sigma²)

    Args:
        mean: Mean of log ς for data of standard deviation 1; the paper's −1.2 is for ½, which is −1.2 + log 2 for 1.
        std: Standard deviation of log ς.

    Raises:
        ArgumentError: std is not positive, or the mean is not finite.

    References:
        Karras et al. 2022, Elucidating the design space of diffusion-based generative models, section 5.

    Example:
        >>> from unigen.dynamics.variance_exploding import VE
        >>> t, _ = LogNormalNoise(mean=0.0).place(torch.tensor([0.5]), VE(sigma_min=0.01, sigma_max=100.0), 0.0)
        >>> t.round(decimals=4)
        tensor([0.5000])
    """

    def __init__(self, mean: float = -1.2 + math.log(2.0), std: float = 1.2) -> None:
        if not (math.isfinite(mean) and 0.0 < std < math.inf):
            raise ArgumentError(
                program="LogNormalNoise", got=f"mean={mean}, std={std}", expected="a finite mean, std > 0"
            )
        self.mean, self.std = float(mean), float(std)

    @torch.no_grad()
    def place(self, u: Tensor, schedule: Schedule, start: float) -> tuple[Tensor, Tensor]:
        """Quantiles of the normal distribution between the ends, and 1 / ((1 − start) p(t))."""
        first, last = _ends(schedule, start, u)
        low, high = ((-0.5 * end - self.mean) / self.std for end in (first, last))
        below, mass = torch.special.ndtr(low), torch.special.ndtr(high) - torch.special.ndtr(low)
        score = torch.special.ndtri(below + u.double() * mass).clamp(low, high)
        t = _invert(schedule, -2.0 * (self.mean + self.std * score), start)
        rate = 0.5 * schedule.diffusion_squared(t) / schedule.sigma(t).square()
        density = torch.exp(-0.5 * score.square()) / (math.sqrt(2.0 * math.pi) * self.std * mass) * rate
        return t.to(u.dtype), (1.0 / ((1.0 - start) * density)).to(u.dtype)

    def check(self, schedule: Schedule, start: float) -> None:
        """Refuse a schedule that has no such noise levels.

        Raises:
            ArgumentError: Less than a thousandth of the distribution lies between its ends, or an end is infinite.
        """
        ends = torch.tensor(_check_ends("LogNormalNoise", schedule, start), dtype=torch.float64)
        low, high = torch.special.ndtr((-0.5 * ends - self.mean) / self.std).tolist()
        if high - low < 1e-3:
            raise ArgumentError(
                "the schedule hardly ever has these noise levels", program="LogNormalNoise", site="mean",
                got=f"{high - low:.2g} of the distribution between its ends", expected="at least 0.001",
                hint=f"log(sigma/alpha) of the schedule runs from {-0.5 * ends[0]:.3g} to {-0.5 * ends[1]:.3g}",
            )  # fmt: skip
