"""Weightings of a denoising loss that name a function of the SNR; notation as in `weighting.py`."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from unigen.dynamics.denoiser import Denoiser
from unigen.errors import ArgumentError
from unigen.objectives.weighting import Weighting


def _positive(program: str, **settings: float) -> None:
    for name, value in settings.items():
        if not 0.0 < value < math.inf:
            raise ArgumentError(program=program, site=name, got=value, expected="a positive number")


@final
class MinSNRWeighting(Weighting):
    """weight = min(1, gamma/SNR), which is min(SNR, gamma) on the squared error of x0. Not a bound.

    Args:
        gamma: SNR above which the error of x0 counts no more.

    Raises:
        ArgumentError: gamma is not positive.

    References:
        Hang et al. 2023, Efficient diffusion training via min-SNR weighting strategy.
    """

    def __init__(self, gamma: float = 5.0) -> None:
        _positive("MinSNRWeighting", gamma=gamma)
        self.gamma = float(gamma)

    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """min(1, gamma / SNR)."""
        return (torch.exp(-denoiser.schedule.log_snr(t)) * self.gamma).clamp(max=1.0)


@final
class TruncatedSNRWeighting(Weighting):
    """weight = max(1, 1/SNR), which is max(SNR, 1) on x0: the larger of the errors of x0 and of eps. Not a bound.

    References:
        Salimans & Ho 2022, Progressive distillation for fast sampling of diffusion models, section 4.
    """

    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """max(1, 1 / SNR)."""
        return torch.exp(-denoiser.schedule.log_snr(t)).clamp(min=1.0)


@final
class P2Weighting(Weighting):
    """weight = (k + SNR)^−gamma: less of what is decided at little noise ("perception prioritized"). Not a bound.

    Args:
        gamma: Power; 0 is `NoiseWeighting`.
        k: Offset.

    Raises:
        ArgumentError: gamma is negative, or k is not positive.

    References:
        Choi et al. 2022, Perception prioritized training of diffusion models.
    """

    def __init__(self, gamma: float = 1.0, k: float = 1.0) -> None:
        _positive("P2Weighting", k=k)
        if not 0.0 <= gamma < math.inf:
            raise ArgumentError(program="P2Weighting", site="gamma", got=gamma, expected="0 or more, finite")
        self.gamma, self.k = float(gamma), float(k)

    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """(k + SNR)^−gamma."""
        return (torch.exp(denoiser.schedule.log_snr(t)) + self.k).pow(-self.gamma)


@final
class SigmoidWeighting(Weighting):
    """w(λ) = sigmoid(bias − λ), the same for every schedule: falls in λ, so a bound for data with added noise.

    weight = (1 − start) g² / (2 sigma²) · sigmoid(bias − λ)

    Args:
        bias: λ at which w is one half; the larger, the more of what is decided at little noise counts.

    Raises:
        ArgumentError: The bias is not finite.

    References:
        Kingma & Gao 2023, Understanding diffusion objectives as the ELBO with simple data augmentation; Hoogeboom et
        al. 2024, Simpler diffusion (SiD2).
    """

    def __init__(self, bias: float = 2.0) -> None:
        if not math.isfinite(bias):
            raise ArgumentError(program="SigmoidWeighting", site="bias", got=bias, expected="a finite number")
        self.bias = float(bias)

    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """The likelihood weight times sigmoid(bias − λ)."""
        return denoiser.likelihood_weight(t) * torch.sigmoid(self.bias - denoiser.schedule.log_snr(t))


@final
class EDMWeighting(Weighting):
    """EDM's: (ς² + sigma_data²) / (ς sigma_data)² on x0, times the density of log ς ~ N(mean, std²), ς = sigma/alpha.

    w(λ) = N(log ς; mean, std²) (1 + ς²/sigma_data²),    log ς = −λ/2. Rises and falls in λ: not a bound.

    With `LogNormalNoise` of the same mean and std for the times, the weight left is that of the paper. Data are in unit
    coordinates, so sigma_data is 1; the paper's mean of −1.2 is for sigma_data = ½, which is −1.2 + log 2 for 1.

    Args:
        mean: Mean of log ς.
        std: Its standard deviation.
        sigma_data: Standard deviation of the data.

    Raises:
        ArgumentError: std or sigma_data is not positive, or the mean is not finite.

    References:
        Karras et al. 2022, Elucidating the design space of diffusion-based generative models, table 1.
    """

    def __init__(self, mean: float = -1.2 + math.log(2.0), std: float = 1.2, sigma_data: float = 1.0) -> None:
        _positive("EDMWeighting", std=std, sigma_data=sigma_data)
        if not math.isfinite(mean):
            raise ArgumentError(program="EDMWeighting", site="mean", got=mean, expected="a finite number")
        self.mean, self.std, self.sigma_data = float(mean), float(std), float(sigma_data)

    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """The likelihood weight times w(λ)."""
        log_snr = denoiser.schedule.log_snr(t)
        density = torch.exp(-0.5 * ((-0.5 * log_snr - self.mean) / self.std).square())
        constant = self.std * math.sqrt(2.0 * math.pi)
        relative = 1.0 + torch.exp(-log_snr) / self.sigma_data**2
        return denoiser.likelihood_weight(t) * density * relative / constant
