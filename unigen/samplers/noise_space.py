"""Data as noise and back, along the ODE of any program with a flow: its encoder and decoder."""

from __future__ import annotations

import torch
from torch import Tensor

from unigen.checks import check_context, check_data
from unigen.program import Program
from unigen.queries import evaluating
from unigen.samplers.probability_flow import ProbabilityFlowODE

ODE = ProbabilityFlowODE(1e-5, 1e-5)


@torch.no_grad()
def to_noise(program: Program, x: object, context: object = None, ode: ProbabilityFlowODE = ODE) -> Tensor:
    """Return z_1 of data along the probability flow: standard normal if the program fits the data.

    Args:
        program: A program with a flow: `Diffusion`, `DDPM`, `CNF`, `FlowMatching`.
        x: Data, (N, *event).
        context: Context, (N, C) or (1, C).
        ode: How the flow is solved.

    Returns:
        Noise, (N, *event).

    Raises:
        ArgumentError: The program has no flow.

    References:
        Song et al. 2021, Score-based generative modeling through SDEs, section 4.3.
    """
    rows, c = program.check_batch(x, context)
    with evaluating(program):
        return ode.pull(program, rows, c)


@torch.no_grad()
def from_noise(program: Program, z: object, context: object = None, ode: ProbabilityFlowODE = ODE) -> Tensor:
    """Return the data of noise z_1, the inverse of ``to_noise`` up to the solver's tolerance.

    Args:
        program: A program with a flow.
        z: Noise, (N, *event).
        context: Context, (N, C) or (1, C).
        ode: How the flow is solved.

    Returns:
        Data, (N, *event).

    Raises:
        ArgumentError: The program has no flow.
    """
    rows = check_data(z, program.event_shape, program.support, program.dtype, program.name, "z")
    c = check_context(context, program.context_features, rows.shape[0], program.dtype, program.name)
    with evaluating(program):
        return ode.push(program, rows.to(program.device), None if c is None else c.to(program.device))
