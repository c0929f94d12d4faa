"""Ancestral draws from the reverse Markov chain of a diffusion.

With k = SNR_t / SNR_s and r = alpha_t / alpha_s, as in `unigen.models.ddpm`,

    z_s ~ N( (k / r) z_t + alpha_s (1 − k) u_hat,  std² I ),
    log std² between log sigma_s² (1 − k), the posterior's, and log sigma_t² (1 − k), the forward step's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.samplers.grid_sampler import GridSampler
from unigen.samplers.grids import EqualTimes, Grid
from unigen.samplers.progress import Progress
from unigen.samplers.walk import Walk


@final
class DDPMAncestral(GridSampler):
    """Draw z_s from the posterior q(z_s | z_t, u_hat) at every step.

    Args:
        steps: Number of steps, one network evaluation each.
        variance: 0 takes the variance of the posterior, exact where the data are a point; 1 that of the forward step,
            exact where the data are N(0, I); between them the logarithms mix.
        times: Where to stop: a grid, or the steps + 1 times.
        denoise: End with the denoiser's mean instead of the last noisy state.
        progress: Called with (steps begun, steps); True: a bar; "auto": a bar on a terminal, for walks over a second.

    Raises:
        ArgumentError: A setting is out of range.

    References:
        Ho, Jain & Abbeel 2020, Denoising diffusion probabilistic models; Nichol & Dhariwal 2021, equation 15.

    Example:
        >>> from unigen.models.diffusion import Diffusion
        >>> Diffusion(features=2, hidden=8, blocks=1).sample(3, sampler=DDPMAncestral(steps=5)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        steps: int = 200,
        variance: float = 0.0,
        times: Grid | Sequence[float] | Tensor = EqualTimes(),
        denoise: bool = False,
        progress: Progress = "auto",
    ) -> None:
        super().__init__(steps, times, denoise, progress)
        if not 0.0 <= variance <= 1.0:
            raise ArgumentError(
                program="DDPMAncestral", site="variance", got=variance, expected="a number in [0, 1]"
            )
        self.variance = float(variance)

    def step(self, walk: Walk, z: Tensor, i: int) -> Tensor:
        """(k / r) z_t + alpha_s (1 − k) u_hat + std ξ."""
        t, s = walk.levels[i], walk.levels[i + 1]
        fresh = -math.expm1(2.0 * (t.half_log_snr - s.half_log_snr))  # 1 − k
        std = s.sigma ** (1.0 - self.variance) * t.sigma**self.variance * math.sqrt(fresh)
        kept = (s.sigma / t.sigma) ** 2 * t.alpha / s.alpha  # k / r
        return walk.mix(z, t, kept, s.alpha * fresh, 0.0).add_(torch.randn_like(z), alpha=std)
