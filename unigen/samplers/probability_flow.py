"""Draws by the probability-flow ODE: the same noise always gives the same draw."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from unigen.dynamics.change_of_variables import carry_data, carry_noise
from unigen.dynamics.ode_solver import Adaptive
from unigen.dynamics.unit_flow import flow_of
from unigen.errors import NonFiniteError
from unigen.program import Program
from unigen.samplers.sampler import Sampler


@final
class ProbabilityFlowODE(Sampler):
    """Solve dz/dt = v(t, z) from N(0, I) at t = 1 down to the data.

    For a diffusion v = f z − ½ g² score, for a continuous flow it is the network. These are draws from the very
    distribution that the density `ProbabilityFlow` scores.

    Args:
        rtol: Relative error a step.
        atol: Absolute error a step.
        method: ``dopri5``, or a method of fixed step such as ``heun2``.
        options: Options of the method, e.g. ``{"step_size": 0.05}``.
        max_evaluations: Give up after so many evaluations of the velocity, or None.

    References:
        Song et al. 2021.
    """

    def __init__(
        self,
        rtol: float = 1e-4,
        atol: float = 1e-4,
        method: str = "dopri5",
        options: dict[str, Any] | None = None,
        max_evaluations: int | None = None,
    ) -> None:
        self.rtol, self.atol, self.method, self.options = rtol, atol, method, options
        self.max_evaluations = max_evaluations

    def _solver(self) -> Adaptive:
        return Adaptive(self.rtol, self.atol, self.method, False, self.max_evaluations, self.options)

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return n draws, shape (n, *event_shape).

        Raises:
            ArgumentError: The program has no flow.
            NonFiniteError: The solver diverged.
        """
        return self.push(program, flow_of(program).draw_base(n), context)

    def push(self, program: Program, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Map noise at t = 1 to data, deterministically and differentiably.

        Args:
            program: A program with a flow: a diffusion, a CNF.
            z: Noise, (N, *event_shape).
            context: Context, (N, C), or None.

        Returns:
            Data, (N, *event_shape).

        Raises:
            ArgumentError: The program has no flow.
            NonFiniteError: The solver diverged.
        """
        x = carry_noise(flow_of(program), z, context, self._solver())
        return _finite(x, program)

    def pull(self, program: Program, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map data to noise at t = 1, the inverse of ``push`` up to the tolerance, differentiably.

        Args:
            program: A program with a flow: a diffusion, a CNF.
            x: Data, (N, *event_shape).
            context: Context, (N, C), or None.

        Returns:
            Noise, (N, *event_shape).

        Raises:
            ArgumentError: The program has no flow.
            NonFiniteError: The solver diverged.
        """
        return _finite(carry_data(flow_of(program), x, context, self._solver()), program)


def _finite(x: Tensor, program: Program) -> Tensor:
    if not bool(torch.isfinite(x).all()):
        raise NonFiniteError("the solver diverged", program=program.name, hint="smaller tolerances")
    return x
