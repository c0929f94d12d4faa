"""Draws by the reverse SDE: from N(0, I) at t = 1 down to the data.

dz = [f z − ½ (1 + noise²) g² score] dt + noise g dW,      x = loc + scale z_start / alpha_start,

with score = −eps_hat / sigma.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor

from unigen.dynamics.sde import ForwardSDE
from unigen.dynamics.sde import ReverseSDE as ReverseDynamics
from unigen.dynamics.solvers import integrate_sde
from unigen.errors import ArgumentError
from unigen.samplers.grid_sampler import GridSampler
from unigen.samplers.grids import EqualLogSNR, Grid
from unigen.samplers.progress import Progress, Told
from unigen.samplers.walk import Walk

_OWN, _TORCHSDE = ("euler", "heun"), ("milstein", "srk")


@final
class ReverseSDE(GridSampler):
    """Solve the reverse SDE of a diffusion in equal steps of log SNR, or on any other grid.

    The bias of a draw falls with the number of steps, in proportion to 1/steps for ``euler``. The noise does not depend
    on the state, where Milstein's method is the Euler–Maruyama method and the Itô and Stratonovich integrals agree;
    strong orders are 1 for ``euler``, ``heun`` and ``milstein`` and 1.5 for ``srk``.

    Args:
        steps: Number of steps, one network evaluation each (``heun``: two, ``srk``: ten).
        noise: 1 is the reverse SDE, 0 the probability flow; every value has the same marginals for an exact score.
        method: ``euler`` or ``heun``; by torchsde ``milstein`` or ``srk``.
        denoise: End with the denoiser's mean instead of the last noisy state.
        progress: Called with (steps begun, steps); True: a bar; "auto": a bar on a terminal, for walks over a second.
        times: Where to stop: a grid, or the steps + 1 times.

    Raises:
        ArgumentError: A setting is out of range.

    References:
        Song et al. 2021; Anderson 1982; Rößler, Runge–Kutta methods for the strong approximation of
        solutions of stochastic differential equations, 2010.

    Example:
        >>> from unigen.models.diffusion import Diffusion
        >>> Diffusion(features=2, hidden=8, blocks=1).sample(3, sampler=ReverseSDE(5, method="srk")).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        steps: int = 200,
        noise: float = 1.0,
        method: str = "euler",
        denoise: bool = False,
        progress: Progress = "auto",
        times: Grid | Sequence[float] | Tensor = EqualLogSNR(),
    ) -> None:
        super().__init__(steps, times, denoise, progress)
        if not 0.0 <= noise < math.inf:
            raise ArgumentError(program="ReverseSDE", site="noise", got=noise, expected="a number >= 0")
        if method not in _OWN + _TORCHSDE:
            raise ArgumentError(
                program="ReverseSDE", site="method", got=method, expected=" | ".join(_OWN + _TORCHSDE)
            )
        self.noise, self.method = float(noise), method

    def states(
        self, walk: Walk, z: Tensor, tell: Told | None = None, *, keep: bool = False
    ) -> Iterator[Tensor]:
        """The states of a walk one after the other; the last of them is its end."""
        if self.method in _OWN:
            return super().states(walk, z, tell, keep=keep)
        return self._by_torchsde(walk, z, tell, keep)

    def _by_torchsde(self, walk: Walk, z: Tensor, tell: Told | None, keep: bool) -> Iterator[Tensor]:
        times, denoiser = torch.stack([level.time for level in walk.levels]), walk.denoiser
        forward = ForwardSDE(denoiser.schedule).on_grid(times)
        reverse = ReverseDynamics(forward, lambda t, y: denoiser.score(t, y, walk.context), self.noise)
        path = integrate_sde(
            reverse.drift, reverse.diffusion, z, times, self.method, trajectory=keep, progress=tell
        )
        yield from path[1:] if keep else (path,)

    def step(self, walk: Walk, z: Tensor, i: int) -> Tensor:
        """One step of Euler–Maruyama or Heun.

        Raises:
            ArgumentError: The method is torchsde's, which takes all steps itself.
        """
        if i == 0:
            walk.memory = self._table(walk)
        drift, pull, noise, later_drift, later_pull, later_noise = walk.memory[i]
        t, s = walk.levels[i], walk.levels[i + 1]
        if self.method == "euler":
            z = walk.mix(z, t, 1.0 + drift, 0.0, pull)
            return z.add_(torch.randn_like(z), alpha=noise) if noise else z
        moved, fresh = walk.mix(z, t, drift, 0.0, pull), torch.randn_like(z)
        guess = (z + moved).add_(fresh, alpha=noise)
        again = walk.mix(guess, s, later_drift, 0.0, later_pull)
        z = torch.add(z, again.add_(moved), alpha=0.5)
        return z.add_(fresh, alpha=0.5 * (noise + later_noise))

    @torch.no_grad()
    def _table(self, walk: Walk) -> list[tuple[float, ...]]:
        """For every step of length h, at both its ends: h f, h ½ (1 + noise²) g² / sigma, √|h| noise g."""
        if self.method not in _OWN:
            raise ArgumentError(
                "torchsde takes all steps itself", program="ReverseSDE", site="method", got=self.method,
                expected=" | ".join(_OWN),
            )  # fmt: skip
        times = torch.stack([level.time for level in walk.levels]).double()
        schedule, sigma = walk.denoiser.schedule, times.new_tensor([level.sigma for level in walk.levels])
        f, g2 = schedule.drift_coefficient(times).expand_as(times), schedule.diffusion_squared(times)
        rates = torch.stack([f, 0.5 * (1.0 + self.noise**2) * g2 / sigma, self.noise * torch.sqrt(g2)])
        if not bool(torch.isfinite(rates).all()):
            raise ArgumentError(
                "the rates of this schedule are infinite at an end", program="ReverseSDE", site="schedule",
                got=schedule, hint="times= that stop short of it, or ug.DDIM()",
            )  # fmt: skip
        h = torch.diff(times)
        lengths = torch.stack([h, h, torch.sqrt(-h)])
        return [*zip(*torch.cat([rates[:, :-1] * lengths, rates[:, 1:] * lengths]).tolist(), strict=True)]
