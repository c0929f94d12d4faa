"""How straight the trajectories of a flow are: one long step of Euler's method is exact on straight ones."""

from __future__ import annotations

import torch

from unigen.checks import check_context
from unigen.dynamics.fixed_steps import FixedSteps
from unigen.dynamics.unit_flow import flow_of, sum_events
from unigen.errors import ArgumentError
from unigen.program import Program
from unigen.queries import evaluating, seeded


def straightness(
    program: Program, n: int = 1000, *, context: object = None, steps: int = 50, seed: int | None = None
) -> float:
    """Return by how much the trajectories of a flow bend, relative to their length.

        S = ∫ E‖v(t, z_t) − (z_1 − z_0)‖² dt / E‖z_1 − z_0‖²,      0 if and only if every trajectory is straight

    Args:
        program: A program with a flow: flow matching, a CNF, a diffusion.
        n: Trajectories, from noise drawn at t = 1.
        context: Context, (n, C) or (1, C).
        steps: Steps of the solver and of the quadrature over time.
        seed: Of the noise.

    Returns:
        S, without unit; its error falls as 1/√n.

    Raises:
        ArgumentError: The program has no flow, or a size is not positive.

    References:
        Liu, Gong & Liu, Flow straight and fast, 2023.

    Example:
        >>> import unigen as ug
        >>> straightness(ug.FlowMatching(2, hidden=8, blocks=1), 10, seed=0) >= 0.0
        True
    """
    flow = flow_of(program)
    if n < 1 or steps < 1:
        raise ArgumentError(
            program="straightness", site="sizes", got=f"n={n}, steps={steps}", expected="both ≥ 1"
        )
    c = check_context(context, program.context_features, n, program.dtype, program.name)
    c = None if c is None else c.to(program.device)
    times = torch.linspace(1.0, flow.start, steps + 1, dtype=torch.float64)
    with evaluating(program), seeded(seed, program.device), torch.no_grad():
        field = flow.field(c)
        path = FixedSteps(steps).path(field, flow.draw_base(n), times.tolist(), (), flow.evaluations)
        whole = (path[0] - path[-1]) / (1.0 - flow.start)
        bends = torch.stack(
            [
                sum_events((field(t, z) - whole).square()).mean()
                for t, z in zip(times.to(whole), path, strict=True)
            ]
        )
        bend = torch.trapezoid(bends.double(), dx=1.0 / steps)
        return float(bend / sum_events(whole.square()).mean().double().clamp_min(1e-300))
