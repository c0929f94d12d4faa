"""Draws by the probability-flow ODE: the same noise always gives the same draw."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from unigen.dynamics.denoiser import denoiser_of
from unigen.dynamics.sde import ForwardSDE, ProbabilityFlow
from unigen.dynamics.solvers import integrate_ode
from unigen.errors import NonFiniteError
from unigen.program import Program
from unigen.samplers.sampler import Sampler


@final
class ProbabilityFlowODE(Sampler):
    """Solve dz/dt = f z − ½ g² score from N(0, I) at t = 1 down to the data.

    These are draws from the very distribution that the density `ProbabilityFlow` scores.

    Args:
        rtol: Relative error a step.
        atol: Absolute error a step.
        method: ``dopri5``, or a method of fixed step such as ``heun2``.
        options: Options of the method, e.g. ``{"step_size": 0.05}``.

    References:
        Song et al. 2021.
    """

    def __init__(
        self,
        rtol: float = 1e-4,
        atol: float = 1e-4,
        method: str = "dopri5",
        options: dict[str, Any] | None = None,
    ) -> None:
        self.rtol, self.atol, self.method, self.options = rtol, atol, method, options

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return n draws, shape (n, *event_shape).

        Raises:
            ArgumentError: The program has no denoiser.
            NonFiniteError: The solver diverged.
        """
        denoiser = denoiser_of(program)
        z = torch.randn(n, *denoiser.loc.shape, dtype=denoiser.loc.dtype, device=denoiser.loc.device)
        return self.push(program, z, context)

    def push(self, program: Program, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Map noise at t = 1 to data, deterministically and differentiably.

        Args:
            program: A program with a denoiser.
            z: Noise, (N, *event_shape).
            context: Context, (N, C), or None.

        Returns:
            Data, (N, *event_shape).

        Raises:
            ArgumentError: The program has no denoiser.
            NonFiniteError: The solver diverged.
        """
        denoiser = denoiser_of(program)
        c = None if context is None else context.expand(z.shape[0], context.shape[-1])
        flow = ProbabilityFlow(ForwardSDE(denoiser.schedule), lambda t, y: denoiser.score(t, y, c))
        solution = integrate_ode(
            flow.drift, z, 1.0, denoiser.start, self.rtol, self.atol, self.method, self.options
        )
        start = torch.full((), denoiser.start, dtype=z.dtype, device=z.device)
        x = denoiser.from_unit(solution.value / denoiser.schedule.alpha(start))
        if not bool(torch.isfinite(x).all()):
            raise NonFiniteError("the solver diverged", program=program.name, hint="smaller tolerances")
        return x
