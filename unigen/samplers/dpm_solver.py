"""DPM-Solver++: exponential integrators in λ = log (alpha / sigma), of the predicted data.

With h = λ_s − λ_t and D = u_hat at order 1, D = u_hat + (h / 2 h_before) (u_hat − u_hat_before) at order 2,

    ODE   z_s = (sigma_s / sigma_t) z_t + alpha_s (1 − e^(−h)) D,
    SDE   z_s = (sigma_s / sigma_t) e^(−h) z_t + alpha_s (1 − e^(−2h)) D + sigma_s √(1 − e^(−2h)) ξ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.samplers.grid_sampler import GridSampler
from unigen.samplers.grids import EqualLogSNR, Grid
from unigen.samplers.progress import Progress
from unigen.samplers.walk import Walk


@final
class DPMSolver(GridSampler):
    """DPM-Solver++ (2M): second order with one evaluation a step, from the prediction of the step before.

    Order 1 is DDIM with eta = 0, or with ``sde`` eta = 1.

    Args:
        steps: Number of steps, one network evaluation each.
        order: 1 or 2; the first step is always of order 1.
        sde: Solve the reverse SDE instead of the probability flow.
        lower_order_final: Take the last step at order 1 too. The order of the whole stays; where the last step is much
            longer in λ than the one before, as on `EqualTimes`, order 2 would extrapolate far beyond what it has seen.
        times: Where to stop: a grid, or the steps + 1 times.
        denoise: End with the denoiser's mean instead of the last noisy state.
        progress: Called with (steps begun, steps); True: a bar; "auto": a bar on a terminal, for walks over a second.

    Raises:
        ArgumentError: A setting is out of range.

    References:
        Lu et al. 2022, DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models.

    Example:
        >>> from unigen.models.diffusion import Diffusion
        >>> Diffusion(features=2, hidden=8, blocks=1).sample(3, sampler=DPMSolver(steps=5)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        steps: int = 20,
        order: int = 2,
        sde: bool = False,
        lower_order_final: bool = True,
        times: Grid | Sequence[float] | Tensor = EqualLogSNR(),
        denoise: bool = False,
        progress: Progress = "auto",
    ) -> None:
        super().__init__(steps, times, denoise, progress)
        if order not in (1, 2):
            raise ArgumentError(program="DPMSolver", site="order", got=order, expected="1 or 2")
        self.order, self.sde, self.lower_order_final = order, sde, lower_order_final

    def _extrapolation(self, walk: Walk, i: int) -> float:
        """h / 2 h_before, by which the data are carried on to the middle of the step; 0 at order 1."""
        if self.order == 1 or i == 0 or (self.lower_order_final and i == self.steps - 1):
            return 0.0
        last, t, s = (level.half_log_snr for level in walk.levels[i - 1 : i + 2])
        return 0.5 * (s - t) / (t - last)

    def step(self, walk: Walk, z: Tensor, i: int) -> Tensor:
        """One step of the formula above."""
        t, s = walk.levels[i], walk.levels[i + 1]
        h, more = s.half_log_snr - t.half_log_snr, self._extrapolation(walk, i)
        kept, fresh = s.sigma / t.sigma, -math.expm1(-2.0 * h)
        gain = s.alpha * (fresh if self.sde else -math.expm1(-h))
        kept = kept * math.exp(-h) if self.sde else kept
        if self.order == 1:
            z = walk.mix(z, t, kept, gain, 0.0)
        else:
            u, before = walk.data(z, t), walk.memory
            z, walk.memory = (z * kept).add_(u, alpha=gain * (1.0 + more)), u
            z = z if more == 0.0 else z.add_(before, alpha=-gain * more)
        return z.add_(torch.randn_like(z), alpha=s.sigma * math.sqrt(fresh)) if self.sde else z
