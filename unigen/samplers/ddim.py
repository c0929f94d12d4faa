"""Denoising diffusion implicit models: from deterministic (eta = 0) to ancestral (eta = 1).

With k = SNR_t / SNR_s and std² = eta² sigma_s² (1 − k),

    z_s = alpha_s u_hat + √(sigma_s² − std²) eps_hat + std ξ,      ξ ~ N(0, I).
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
class DDIM(GridSampler):
    """Jump from one level to the next along the predicted data and noise.

    At eta = 0 this is the exponential integrator of first order of the probability flow, and DPM-Solver of order 1.

    Args:
        steps: Number of steps, one network evaluation each.
        eta: η in [0, 1]: fraction of the ancestral noise.
        times: Where to stop: a grid, or the steps + 1 times.
        denoise: End with the denoiser's mean instead of the last noisy state.
        progress: Called with (steps begun, steps); True: a bar; "auto": a bar on a terminal, for walks over a second.

    Raises:
        ArgumentError: A setting is out of range.

    References:
        Song, Meng & Ermon 2021, Denoising diffusion implicit models.

    Example:
        >>> from unigen.models.diffusion import Diffusion
        >>> Diffusion(features=2, hidden=8, blocks=1).sample(3, sampler=DDIM(steps=5)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        steps: int = 50,
        eta: float = 0.0,
        times: Grid | Sequence[float] | Tensor = EqualTimes(),
        denoise: bool = False,
        progress: Progress = "auto",
    ) -> None:
        super().__init__(steps, times, denoise, progress)
        if not 0.0 <= eta <= 1.0:
            raise ArgumentError(program="DDIM", site="eta", got=eta, expected="a number in [0, 1]")
        self.eta = float(eta)

    def step(self, walk: Walk, z: Tensor, i: int) -> Tensor:
        """alpha_s u_hat + √(sigma_s² − std²) eps_hat + std ξ."""
        t, s = walk.levels[i], walk.levels[i + 1]
        fresh = self.eta**2 * -math.expm1(2.0 * (t.half_log_snr - s.half_log_snr))  # std² / sigma_s²
        z = walk.mix(z, t, 0.0, s.alpha, s.sigma * math.sqrt(1.0 - fresh))
        return z if fresh == 0.0 else z.add_(torch.randn_like(z), alpha=s.sigma * math.sqrt(fresh))
