"""What samplers that run chains share: where chains start, where they can move, the noise taken off at the end."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import constraints

from unigen.dynamics.langevin import Energy, energy_and_gradient
from unigen.errors import ShapeError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.program import Program

Start = Callable[[int, Tensor | None], Tensor]  # (n, context) -> (n, *event)


def chain_starts(program: Program, n: int, context: Tensor | None, start: Start | None) -> Tensor:
    """Return where n chains start: the function given, the program's own ``start``, or N(0, I); (n, *event_shape).

    Raises:
        ShapeError: The starts have another shape.
    """
    own: Start | None = getattr(program, "start", None)
    if start is not None:
        x = start(n, context).to(program.device, program.dtype)
    elif callable(own):
        x = own(n, context)
    else:
        x = torch.randn(n, *program.event_shape, device=program.device, dtype=program.dtype)
    if tuple(x.shape) != (n, *program.event_shape):
        expected = (n, *program.event_shape)
        raise ShapeError(program=program.name, site="start", got=tuple(x.shape), expected=expected)
    return x


def energy_of(program: Program, context: Tensor | None) -> Energy:
    """Return E(x | c), −log p(x | c) up to a constant: the program's own ``potential`` where its density is that."""
    own: Callable[..., Tensor] | None = getattr(program, "potential", None)
    if program.kind is Kind.UNNORMALISED and own is not None:
        return own if context is None else lambda x: own(x, context)
    return lambda x: -program.density_of(x, context).value


def refuse_bounded(program: Program) -> None:
    """Refuse a program whose x does not live in all of Euclidean space.

    Raises:
        UnsupportedQueryError: x is discrete or bounded.
    """
    support = program.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if support is not constraints.real:
        raise UnsupportedQueryError(
            "Langevin dynamics moves in all of Euclidean space",
            program=program.name,
            site=program.observed,
            got=f"support {support}",
            hint="sample ancestrally, or map x to the reals first",
        )


def without_noise(program: Program, energy: Energy, x: Tensor) -> Tensor:
    """Return x + σ² ∇log p(x), where the program was trained under noise of known σ (its ``noise``); else x."""
    noise = getattr(program, "noise", None)
    if noise is None:
        return x
    unit = getattr(program, "length", 1.0) ** 2
    return x - noise.square() * unit * energy_and_gradient(energy, x)[1]
