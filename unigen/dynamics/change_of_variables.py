"""The instantaneous change of variables: a flow's log-determinant as an integral along its trajectories.

d log p_t(z_t) / dt = −∇·v(t, z_t),      log p(x) = log N(z_1; 0, I) + ∫ ∇·v dt + log |det ∂z_start/∂x|
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.dynamics.divergence import Divergence
from unigen.dynamics.ode_solver import ODESolver
from unigen.dynamics.unit_flow import UnitFlow, sum_events


@dataclass(frozen=True)
class Carried:
    """Data carried to noise.

    Args:
        noise: z_1, (N, *event).
        log_prob: log p(x), (N,), in nats; an estimate where the divergence is one.
        stderr: Its standard error, (N,), or None.
        kinetic: ∫ ‖v‖² dt, (N,), if asked for.
        jacobian: ∫ ‖∂v/∂z‖²_F dt, (N,), if asked for; an estimate where the divergence is one.
    """

    noise: Tensor
    log_prob: Tensor
    stderr: Tensor | None
    kinetic: Tensor | None = None
    jacobian: Tensor | None = None


def carry(
    flow: UnitFlow,
    x: Tensor,
    context: Tensor | None,
    divergence: Divergence,
    solver: ODESolver,
    *,
    penalties: bool = False,
) -> Carried:
    """Carry data to noise along a flow, and with them the density.

    Args:
        flow: The flow.
        x: Data, (N, *event).
        context: Context, (N, C), or None.
        divergence: How ∇·v is computed; its probes are drawn once for the whole trajectory.
        solver: How the ODE is solved.
        penalties: Integrate kinetic energy and squared Jacobian norm too.

    Returns:
        The noise and the log-density.

    References:
        Chen et al., Neural ordinary differential equations, 2018; Grathwohl et al., FFJORD, 2019.
    """
    c = None if context is None else context.expand(x.shape[0], context.shape[-1])
    z, log_det = flow.enter(x)
    vectors = divergence.vectors(z)
    columns = divergence.combine(z.new_zeros(vectors.shape[0], z.shape[0]))

    velocity = flow.field(c)

    def rates(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        v, forms, norms = divergence.parts(lambda y: velocity(t, y), state[0], vectors)
        return (v, forms, sum_events(v.square()), norms) if penalties else (v, forms)

    state = (z, columns)
    if penalties:
        state = (*state, z.new_zeros(z.shape[0]), z.new_zeros(z.shape[0]))
    parameters = [p for p in (*flow.parameters(), c) if p is not None and p.requires_grad]
    path = solver.path(rates, state, (flow.start, 1.0), parameters, flow.evaluations)
    noise, terms, *integrals = (part[-1] for part in path)
    volume, stderr = divergence.estimate(terms)
    return Carried(noise, flow.base_log_prob(noise) + volume + log_det, stderr, *integrals)


def carry_noise(flow: UnitFlow, z: Tensor, context: Tensor | None, solver: ODESolver) -> Tensor:
    """Carry noise at t = 1 to data.

    Args:
        flow: The flow.
        z: Noise, (N, *event).
        context: Context, (N, C), or None.
        solver: How the ODE is solved.

    Returns:
        Data, (N, *event).
    """
    return flow.leave(flow_path(flow, z, context, solver, (1.0, flow.start))[-1])


def carry_data(flow: UnitFlow, x: Tensor, context: Tensor | None, solver: ODESolver) -> Tensor:
    """Carry data to noise at t = 1, without their density.

    Args:
        flow: The flow.
        x: Data, (N, *event).
        context: Context, (N, C), or None.
        solver: How the ODE is solved.

    Returns:
        Noise, (N, *event).
    """
    return flow_path(flow, flow.enter(x)[0], context, solver, (flow.start, 1.0))[-1]


def flow_path(
    flow: UnitFlow, z: Tensor, context: Tensor | None, solver: ODESolver, times: Sequence[float]
) -> Tensor:
    """Carry a state along a flow.

    Args:
        flow: The flow.
        z: State at the first of the times, (N, *event).
        context: Context, (N, C), or None.
        solver: How the ODE is solved.
        times: Strictly increasing or decreasing, between the flow's start and 1, (K,).

    Returns:
        States at the times, (K, N, *event).
    """
    c = None if context is None else context.expand(z.shape[0], context.shape[-1])
    parameters = [p for p in (*flow.parameters(), c) if p is not None and p.requires_grad]
    path = solver.path(flow.field(c), z, times, parameters, flow.evaluations)
    assert isinstance(path, torch.Tensor)
    return path
