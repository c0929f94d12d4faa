"""What every objective on draws needs: draws whose gradient reaches the parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.program import Program
from unigen.queries import ancestral


def check_draws(program: Program) -> tuple[Tensor, Tensor | None]:
    """Return two draws and their context, or refuse a program whose draws carry no gradient.

    Args:
        program: What is to be trained through its draws.

    Returns:
        Draws (2, *event), detached, and a context (2, C) or None; the global random state is left as it was.

    Raises:
        ArgumentError: The draws are not differentiable in the parameters.
    """
    context = program._dummy_context(2)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        y = ancestral(program, 2, context)
    if not y.requires_grad:
        raise ArgumentError(
            "an objective on draws needs them to be differentiable in the parameters",
            program=program.name,
            site=program.observed,
            hint="a reparameterised likelihood (Gaussian, not Bernoulli), or objective=ELBO()",
        )
    return y.detach(), context
