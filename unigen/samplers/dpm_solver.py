"""DPM-Solver++: exponential integrators in λ = log (alpha / sigma), of the predicted data.

With h = λ_s − λ_t and D = u_hat at order 1, D = u_hat + (h / 2 h_before) (u_hat − u_hat_before) at order 2,

    ODE   z_s = (sigma_s / sigma_t) z_t + alpha_s (1 − e^(−h)) D,
    SDE   z_s = (sigma_s / sigma_t) e^(−h) z_t + alpha_s (1 − e^(−2h)) D + sigma_s √(1 − e^(−2h)) ξ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.samplers.grid_sampler import GridSampler, Walk
from unigen.samplers.grids import EqualLogSNR, Grid


@final
class DPMSolver(GridSampler):
    """DPM-Solver++ (2M): second order with one evaluation a step, from the prediction of the step before.

    Order 1 is DDIM with eta = 0, or with ``sde`` eta = 1.

    Args:
        steps: Number of steps, one network evaluation each.
        order: 1 or 2; the first step is always of order 1.
        sde: Solve the reverse SDE instead of the probability flow.
        times: Where to stop: a grid, or the steps + 1 times.
        denoise: End with the denoiser's mean instead of the last noisy state.
        progress: Called with (steps begun, steps).

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
        times: Grid | Sequence[float] | Tensor = EqualLogSNR(),
        denoise: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        super().__init__(steps, times, denoise, progress)
        if order not in (1, 2):
            raise ArgumentError(program="DPMSolver", site="order", got=order, expected="1 or 2")
        self.order, self.sde = order, sde

    def _data(self, walk: Walk, u: Tensor, i: int) -> Tensor:
        """D: the predicted data, extrapolated to the middle of the step at order 2."""
        before, walk.memory = walk.memory, u
        if self.order == 1 or i == 0:
            return u
        last, t, s = (level.half_log_snr for level in walk.levels[i - 1 : i + 2])
        return torch.lerp(before, u, 1.0 + 0.5 * (s - t) / (t - last))

    def step(self, walk: Walk, z: Tensor, i: int) -> Tensor:
        """One step of the formula above."""
        t, s = walk.levels[i], walk.levels[i + 1]
        data = self._data(walk, walk.predict(z, t)[0], i)
        h = s.half_log_snr - t.half_log_snr
        if not self.sde:
            return torch.add(z * (s.sigma / t.sigma), data, alpha=-s.alpha * math.expm1(-h))
        fresh = -math.expm1(-2.0 * h)
        z = torch.add(z * (s.sigma / t.sigma * math.exp(-h)), data, alpha=s.alpha * fresh)
        return torch.add(z, torch.randn_like(z), alpha=s.sigma * math.sqrt(fresh))
