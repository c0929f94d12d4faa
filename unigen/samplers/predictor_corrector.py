"""Predictor–corrector: a step of any sampler down, then Langevin steps where it arrived.

z ← z + h score + √(2 h) ξ,      h = 2 (snr sigma_s)²,      score = −eps_hat / sigma_s
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.samplers.ddpm import DDPMAncestral
from unigen.samplers.grid_sampler import GridSampler
from unigen.samplers.walk import Walk


@final
class PredictorCorrector(GridSampler):
    """Correct every step of a sampler by Langevin dynamics at the level that it reached.

    Song et al. set h by the norms of noise and score, averaged over the draws, which ties the draws to one another;
    here the norm of the score is √dims / sigma, its size where noise prevails, and draws stay independent.

    Args:
        predictor: The sampler; its grid, end and progress are kept.
        corrections: Langevin steps after each of its steps, one network evaluation each.
        snr: Size of a Langevin step relative to the noise; the stationary variance is too large by
            a fraction of at most snr² / (1 − snr²).

    Raises:
        ArgumentError: A setting is out of range.

    References:
        Song et al. 2021, Score-based generative modeling through SDEs, algorithms 1, 4 and 5.

    Example:
        >>> from unigen.models.diffusion import Diffusion
        >>> sampler = PredictorCorrector(DDPMAncestral(steps=5))
        >>> Diffusion(features=2, hidden=8, blocks=1).sample(3, sampler=sampler).shape
        torch.Size([3, 2])
    """

    def __init__(
        self, predictor: GridSampler = DDPMAncestral(), corrections: int = 1, snr: float = 0.16
    ) -> None:
        if not isinstance(predictor, GridSampler) or isinstance(predictor, PredictorCorrector):
            raise ArgumentError(
                program="PredictorCorrector", site="predictor", got=type(predictor).__name__,
                expected="a sampler that steps down a grid", hint="ug.DDPMAncestral() or ug.DDIM()",
            )  # fmt: skip
        super().__init__(predictor.steps, predictor.times, predictor.denoise, predictor.progress)
        if corrections < 0 or not 0.0 < snr < 1.0:
            raise ArgumentError(
                program="PredictorCorrector", got=f"corrections={corrections}, snr={snr}",
                expected="corrections >= 0, snr in (0, 1)",
            )  # fmt: skip
        self.predictor, self.corrections, self.snr = predictor, corrections, float(snr)

    def step(self, walk: Walk, z: Tensor, i: int) -> Tensor:
        """The predictor's step, then the corrections."""
        z, level = self.predictor.step(walk, z, i), walk.levels[i + 1]
        h = 2.0 * (self.snr * level.sigma) ** 2
        for _ in range(self.corrections):
            z = walk.mix(z, level, 1.0, 0.0, -h / level.sigma)
            z = z.add_(torch.randn_like(z), alpha=math.sqrt(2.0 * h))
        return z
