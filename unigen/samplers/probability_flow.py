"""Draws by the probability-flow ODE: the same noise always gives the same draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from unigen.dynamics.change_of_variables import carry_data, carry_noise, flow_path
from unigen.dynamics.ode_solver import Adaptive
from unigen.dynamics.unit_flow import flow_of
from unigen.errors import ArgumentError
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.samplers.grid_sampler import Trajectory
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
            DivergedError: The solver diverged or ran out of evaluations; ``partial`` has the states so far.
        """
        return self.push(program, flow_of(program).draw_base(n), context)

    def trajectory(
        self,
        program: Program,
        n: int,
        context: Tensor | None = None,
        *,
        times: Sequence[float] | Tensor | None = None,
        seed: int | None = None,
    ) -> Trajectory:
        """Return the states on the way, and the draws that they end in.

        Args:
            program: A program with a flow: a diffusion, a CNF.
            n: Number of draws.
            context: Context, (n, C) or (1, C), or None.
            times: At which to report, from 1 down to the flow's start; 11 equal ones by default. A method of fixed step
                takes these for its own grid, unless its options say otherwise.
            seed: Reproduces the trajectory.

        Raises:
            ArgumentError: The program has no flow, or the times do not fall from 1 to its start.
            DivergedError: The solver diverged or ran out of evaluations; ``partial`` has the states so far.
        """
        flow = flow_of(program)
        stops = torch.linspace(1.0, flow.start, 11).tolist() if times is None else [float(t) for t in times]
        if len(stops) < 2 or stops[0] != 1.0 or abs(stops[-1] - flow.start) > 1e-6:
            raise ArgumentError(
                program="ProbabilityFlowODE", site="times", got=[round(t, 4) for t in stops[:8]],
                expected=f"times that fall from 1 to {flow.start:g}",
            )  # fmt: skip
        with evaluating(program), seeded(seed, program.device), torch.no_grad():
            states = flow_path(flow, flow.draw_base(n), context, self._solver(), (*stops[:-1], flow.start))
            return Trajectory(states.new_tensor(stops), states, flow.leave(states[-1]))

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
            DivergedError: The solver diverged or ran out of evaluations; ``partial`` has the states so far.
        """
        return carry_noise(flow_of(program), z, context, self._solver())

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
            DivergedError: The solver diverged or ran out of evaluations; ``partial`` has the states so far.
        """
        return carry_data(flow_of(program), x, context, self._solver())
