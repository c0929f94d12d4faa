"""Heun's method on the noise level, with optional churn, as in EDM.

With y = z / alpha and the noise level ς = sigma / alpha the probability flow is dy/dς = eps_hat. A step first raises
the noise from ς to ς_hat = (1 + gamma) ς with fresh noise, then goes by Heun's method from ς_hat to the next level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.samplers.grid_sampler import GridSampler
from unigen.samplers.grids import Grid, KarrasTimes
from unigen.samplers.progress import Progress
from unigen.samplers.walk import Level, Walk


@final
class EDM(GridSampler):
    """Heun's method of second order for the probability flow; with churn, a sampler of the SDE.

    gamma = min(churn / steps, √2 − 1) where ς is within the limits, else 0; ς_hat never leaves the schedule.

    Args:
        steps: Number of steps, two network evaluations each.
        churn: S_churn, amount of noise renewed on the way; 0 is the ODE.
        noise_range: (S_tmin, S_tmax), the levels ς between which noise is renewed.
        noise_scale: S_noise, standard deviation of the fresh noise; 1 keeps the marginals.
        times: Where to stop: a grid, or the steps + 1 times.
        denoise: End with the denoiser's mean instead of the last noisy state.
        progress: Called with (steps begun, steps); True: a bar; "auto": a bar on a terminal, for walks over a second.

    Raises:
        ArgumentError: A setting is out of range.

    References:
        Karras et al. 2022, Elucidating the design space of diffusion-based generative models, algorithms 1 and 2.

    Example:
        >>> from unigen.models.diffusion import Diffusion
        >>> Diffusion(features=2, hidden=8, blocks=1).sample(3, sampler=EDM(steps=5, churn=2.0)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        steps: int = 25,
        churn: float = 0.0,
        noise_range: tuple[float, float] = (0.0, math.inf),
        noise_scale: float = 1.0,
        times: Grid | Sequence[float] | Tensor = KarrasTimes(),
        denoise: bool = False,
        progress: Progress = "auto",
    ) -> None:
        super().__init__(steps, times, denoise, progress)
        low, high = noise_range
        if not (0.0 <= churn < math.inf and 0.0 < noise_scale < math.inf and 0.0 <= low <= high):
            raise ArgumentError(
                program="EDM", got=f"churn={churn}, noise_range={noise_range}, noise_scale={noise_scale}",
                expected="churn >= 0, 0 <= low <= high, noise_scale > 0, finite",
            )  # fmt: skip
        self.churn, self.noise_range, self.noise_scale = float(churn), (low, high), float(noise_scale)

    def _raised(self, walk: Walk) -> list[Level]:
        """The level that each step starts from.

        Raises:
            ArgumentError: The schedule has no signal at t = 1, where ς is then infinite.
        """
        if walk.levels[0].alpha == 0.0:
            raise ArgumentError(
                "EDM divides by the signal, of which there is none at t = 1", program="EDM", site="schedule",
                got=walk.denoiser.schedule, hint="ug.DDIM() or ug.DPMSolver(times=ug.EqualTimes())",
            )  # fmt: skip
        gamma, (low, high) = min(self.churn / self.steps, math.sqrt(2.0) - 1.0), self.noise_range
        if gamma == 0.0:
            return walk.levels
        first = walk.levels[0].half_log_snr
        inside = [low <= math.exp(-level.half_log_snr) <= high for level in walk.levels]
        raised = walk.at_snr([max(first, level.half_log_snr - math.log1p(gamma)) for level in walk.levels])
        return [up if yes else level for up, yes, level in zip(raised, inside, walk.levels, strict=True)]

    def step(self, walk: Walk, z: Tensor, i: int) -> Tensor:
        """Raise the noise, then Heun from ς_hat to the next ς."""
        if i == 0:
            walk.memory = self._raised(walk)
        t, up, s = walk.levels[i], walk.memory[i], walk.levels[i + 1]
        fresh = math.exp(-2.0 * up.half_log_snr) - math.exp(-2.0 * t.half_log_snr)
        if fresh > 0.0:
            std = self.noise_scale * up.alpha * math.sqrt(fresh)
            z = (z * (up.alpha / t.alpha)).add_(torch.randn_like(z), alpha=std)
        length = s.alpha * (math.exp(-s.half_log_snr) - math.exp(-up.half_log_snr))
        kept = s.alpha / up.alpha
        guess = walk.mix(z, up, kept, 0.0, length)  # kept z + length eps_hat
        return walk.mix(guess, s, 0.5, 0.0, 0.5 * length).add_(z, alpha=0.5 * kept)
