"""Draws by the stochastic interpolant: an SDE with the marginals of the flow, for any level of noise.

    dz = [v(t, z) + noise² E[eps | z]] dt + noise √(2 sigma_t) dW,      t from 1 down to start,

since E[eps | z] = −sigma_t ∇ log p_t(z): the drift added and the noise added leave every p_t as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import final

import torch
from torch import Tensor

from unigen.dynamics.interpolant_flow import interpolant_flow_of
from unigen.dynamics.solvers import integrate_sde
from unigen.errors import ArgumentError, NonFiniteError
from unigen.program import Program
from unigen.samplers.progress import Progress, check_progress, telling
from unigen.samplers.rerun import Rerun
from unigen.samplers.sampler import Sampler

_METHODS = ("euler", "heun", "milstein", "srk")


@final
class InterpolantSDE(Sampler):
    """Solve the stochastic interpolant in steps of equal time.

    Its coefficients are finite at both ends. The bias of a draw falls in proportion to 1/steps.

    Args:
        steps: Number of steps, one network evaluation each (``heun``: two, ``srk``: ten).
        noise: 0 is the flow itself; every value ≥ 0 has the same marginals for an exact velocity.
        method: ``euler``; by torchsde ``heun``, ``milstein`` (which is ``euler`` here) or ``srk``.
        progress: Called with (steps begun, steps); True: a bar; "auto": a bar on a terminal, for walks over a second.

    Raises:
        ArgumentError: A setting is out of range.

    References:
        Albergo, Boffi & Vanden-Eijnden, Stochastic interpolants, 2023; Ma et al., SiT, 2024.
    """

    def __init__(
        self,
        steps: int = 200,
        noise: float = 1.0,
        method: str = "euler",
        progress: Progress = "auto",
    ) -> None:
        if steps < 1:
            raise ArgumentError(program="InterpolantSDE", site="steps", got=steps, expected="at least 1")
        if not 0.0 <= noise < float("inf"):
            raise ArgumentError(program="InterpolantSDE", site="noise", got=noise, expected="a number >= 0")
        if method not in _METHODS:
            raise ArgumentError(
                program="InterpolantSDE", site="method", got=method, expected=" | ".join(_METHODS)
            )
        self.steps, self.noise, self.method = steps, float(noise), method
        self.progress = check_progress(progress, "InterpolantSDE")

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return n draws, shape (n, *event_shape).

        Raises:
            ArgumentError: The program has no flow along an interpolant.
            UnsupportedQueryError: Its noise is not normal, or not independent of the data.
            NonFiniteError: The solver diverged; ``partial`` has the states so far.
        """
        flow = interpolant_flow_of(program)
        flow.check_gaussian()
        z = flow.draw_base(n)
        c = None if context is None else context.expand(n, context.shape[-1])
        times = torch.linspace(1.0, flow.start, self.steps + 1, dtype=z.dtype, device=z.device)

        def drift(t: Tensor, y: Tensor) -> Tensor:
            velocity, noise = flow.velocity_and_noise(t, y, c)
            return velocity + self.noise**2 * noise

        def diffusion(t: Tensor, y: Tensor) -> Tensor:
            return self.noise * torch.sqrt(2.0 * flow.interpolant.sigma(t))

        solve, rerun = (
            functools.partial(integrate_sde, drift, diffusion, z, times, self.method),
            Rerun(z.device),
        )
        with telling(self.progress, type(self).__name__) as tell:
            x = flow.leave(solve(progress=tell))
        if not bool(torch.isfinite(x).all()):
            raise NonFiniteError(
                "the solver diverged", program=program.name, hint="more steps, or less noise",
                partial=rerun.partial(times, z, _after_first(solve)),
            )  # fmt: skip
        return x


def _after_first(solve: Callable[..., Tensor]) -> Iterator[Tensor]:
    """The states after the start, solved when the first is asked for."""
    yield from solve(trajectory=True)[1:]
