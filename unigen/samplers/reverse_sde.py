"""Draws by the reverse SDE: from N(0, I) at t = 1 down to the data.

dz = [f z − ½ (1 + noise²) g² score] dt + noise g dW,      x = loc + scale z_start / alpha_start
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from unigen.dynamics.denoiser import Denoiser, denoiser_of
from unigen.dynamics.sde import ForwardSDE
from unigen.dynamics.sde import ReverseSDE as ReverseDynamics
from unigen.dynamics.solvers import integrate_sde
from unigen.errors import ArgumentError, NonFiniteError
from unigen.program import Program
from unigen.samplers.grids import EqualTimes, Grid, as_grid
from unigen.samplers.sampler import Sampler


def data_from(denoiser: Denoiser, z: Tensor, denoise: bool, context: Tensor | None, end: Tensor) -> Tensor:
    """x from z at the last time: z / alpha, or the denoiser's mean, in the data's coordinates.

    Raises:
        NonFiniteError: The solver left the finite numbers.
    """
    u = denoiser(z, end, context)[0] if denoise else z / denoiser.schedule.alpha(end)
    if not bool(torch.isfinite(u).all()):
        raise NonFiniteError(
            "the solver diverged", site="x", hint="more steps, or a network that was trained"
        )
    return denoiser.from_unit(u)


@final
class ReverseSDE(Sampler):
    """Solve the reverse SDE of a diffusion in steps of equal time, or on any other grid.

    The bias of a draw falls with the number of steps, in proportion to 1/steps for ``euler``.

    Args:
        steps: Number of steps, one network evaluation each (two for ``heun``).
        noise: 1 is the reverse SDE, 0 the probability flow; every value has the same marginals for an exact score.
        method: ``euler`` or ``heun``.
        denoise: End with the denoiser's mean instead of the last noisy state.
        progress: Called with (steps begun, steps).
        times: Where to stop: a grid, or the steps + 1 times.

    Raises:
        ArgumentError: A setting is out of range.

    References:
        Song et al. 2021; Anderson 1982.
    """

    def __init__(
        self,
        steps: int = 200,
        noise: float = 1.0,
        method: str = "euler",
        denoise: bool = False,
        progress: Callable[[int, int], None] | None = None,
        times: Grid | Sequence[float] | Tensor = EqualTimes(),
    ) -> None:
        if steps < 1:
            raise ArgumentError(program="ReverseSDE", site="steps", got=steps, expected="at least 1")
        if not noise >= 0.0:
            raise ArgumentError(program="ReverseSDE", site="noise", got=noise, expected="a number >= 0")
        self.steps, self.noise, self.method, self.denoise = steps, float(noise), method, denoise
        self.progress, self.times = progress, as_grid(times)

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return n draws, shape (n, *event_shape).

        Raises:
            ArgumentError: The program has no denoiser, or the times do not fit it.
            NonFiniteError: The solver diverged.
        """
        denoiser = denoiser_of(program)
        z = torch.randn(n, *denoiser.loc.shape, dtype=denoiser.loc.dtype, device=denoiser.loc.device)
        times = self.times.times(self.steps, denoiser.schedule, denoiser.start).to(z)
        c = None if context is None else context.expand(n, context.shape[-1])
        forward = ForwardSDE(denoiser.schedule).on_grid(times)
        reverse = ReverseDynamics(forward, lambda t, y: denoiser.score(t, y, c), self.noise)
        z = integrate_sde(reverse.drift, reverse.diffusion, z, times, self.method, progress=self.progress)
        return data_from(denoiser, z, self.denoise, c, times[-1])
