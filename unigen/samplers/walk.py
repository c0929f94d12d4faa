"""A walk down a grid of times: the levels of noise on it, and what is asked of the network there.

Notation: z_t = alpha_t u + sigma_t eps in unit coordinates (`unigen.dynamics.denoiser`); u_hat and eps_hat are the
network's conditional means at (z_t, t). Both are linear in z_t and the network's output y,

    u_hat = a z_t + b y,      eps_hat = c z_t + d y,

so that every combination of z_t, u_hat and eps_hat that a step asks for is one multiplication and one addition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.time_of_snr import time_of

Reading = tuple[float, float, float, float]  # a, b, c, d


class Level(NamedTuple):
    """A time and what the schedule says there, computed in float64.

    Args:
        rows: t for every row, (n,), in the type of the state.
        alpha: Signal level.
        sigma: Noise level.
        half_log_snr: λ = log (alpha / sigma).
        reading: How the prediction is read, or None where the denoiser is no plain `Denoiser`.
    """

    rows: Tensor
    alpha: float
    sigma: float
    half_log_snr: float
    reading: Reading | None

    @property
    def time(self) -> Tensor:
        """t, ()."""
        return self.rows[0]


class Walk:
    """One walk of n states: where it stops, what it asks, and what a step leaves for the next.

    Args:
        denoiser: Predicts u and eps.
        context: Context, (n, C), or None.
        times: Where it stops, (K + 1,), float64.
        n: Number of states.

    Attributes:
        levels: K + 1 levels.
        memory: Of the sampler.
    """

    def __init__(self, denoiser: Denoiser, context: Tensor | None, times: Tensor, n: int) -> None:
        self.denoiser, self.context, self.n = denoiser, context, n
        self.levels = levels_at(denoiser, times, n)
        self.memory: Any = None
        self._ask: Callable[..., Tensor] = denoiser.output  # which checks shapes: once is enough

    def data(self, z: Tensor, level: Level) -> Tensor:
        """u_hat at a level, (n, *event): one evaluation of the network, perhaps its very output."""
        if level.reading is not None and level.reading[:2] == (0.0, 1.0):
            return self._output(z, level)
        return self.mix(z, level, 0.0, 1.0, 0.0)

    def mix(self, z: Tensor, level: Level, of_z: float, of_u: float, of_eps: float) -> Tensor:
        """of_z z + of_u u_hat + of_eps eps_hat at a level, (n, *event): one evaluation of the network.

        The result is a tensor of its own, which may be added to in place.
        """
        if level.reading is None:
            u, eps = self.denoiser(z, level.time, self.context)
            return (z * of_z).add_(u, alpha=of_u).add_(eps, alpha=of_eps)
        y, (a, b, c, d) = self._output(z, level), level.reading
        of_z += of_u * a + of_eps * c
        of_y = of_u * b + of_eps * d
        return y * of_y if of_z == 0.0 else (z * of_z).add_(y, alpha=of_y)

    def at_snr(self, half_log_snr: list[float]) -> list[Level]:
        """Levels at given λ, of the schedule."""
        times = time_of(self.denoiser.schedule, 2.0 * torch.tensor(half_log_snr, dtype=torch.float64))
        return levels_at(self.denoiser, times, self.n)

    def _output(self, z: Tensor, level: Level) -> Tensor:
        y = self._ask(z, level.rows) if self.context is None else self._ask(z, level.rows, self.context)
        self._ask = self.denoiser.network
        return y


@torch.no_grad()
def levels_at(denoiser: Denoiser, times: Tensor, n: int = 1) -> list[Level]:
    """The levels of noise at times (K,), float64, for n states."""
    schedule, times = denoiser.schedule, times.to(denoiser.loc.device)
    log_alpha, sigma = schedule.log_alpha(times), schedule.sigma(times)
    columns = (torch.exp(log_alpha), sigma, log_alpha - torch.log(sigma))
    numbers = (column.expand_as(times).tolist() for column in columns)
    rows = times.to(denoiser.loc.dtype).unsqueeze(1).expand(-1, n).unbind()
    return [*map(Level._make, zip(rows, *numbers, _readings(denoiser, times), strict=True))]


def _readings(denoiser: Denoiser, times: Tensor) -> list[Reading] | list[None]:
    """What a plain denoiser's prediction makes of z = 1, y = 0 and of z = 0, y = 1 at all times."""
    if type(denoiser) is not Denoiser:
        return [None] * times.shape[0]
    ends = torch.eye(2, dtype=times.dtype, device=times.device).unsqueeze(1).expand(2, times.shape[0], 2)
    u, eps = denoiser.prediction.pair(ends[1], ends[0], times, denoiser.schedule)
    return [*zip(*torch.cat([u, eps], 1).t().tolist(), strict=True)]
