"""Prompts: the values that stand at the beginning of a sequence, or at the top of an image."""

from __future__ import annotations

import torch
from torch import Tensor

from unigen.checks import as_tensor
from unigen.distributions.finite import check_levels
from unigen.distributions.sequential import SequentialDistribution
from unigen.errors import ArgumentError, DTypeError, NonFiniteError, ShapeError, UnsupportedQueryError
from unigen.program import Program


def sequential(program: Program, context: Tensor | None) -> SequentialDistribution:
    """Return the density of an autoregressive program.

    Raises:
        UnsupportedQueryError: It is none, or one that is not drawn value after value through a causal network.
    """
    density = program.marginal(context) if program.has_marginal else None
    if isinstance(density, SequentialDistribution):
        return density
    raise UnsupportedQueryError(
        "no conditionals that are drawn one after the other",
        program=program.name,
        hint="ug.Transformer or ug.PixelCNN; sample() draws from any program",
    )


def place_prompt(program: Program, prompt: object, n: int = 1) -> tuple[Tensor, int]:
    """Return flattened rows (n, D) that hold the prompt, zeros elsewhere, and the number of features it gives.

    Args:
        program: An autoregressive program.
        prompt: Shape (P,) or (n, P) for sequences; (C, h, W) or (n, C, h, W) for images, h rows from the top.
        n: Number of rows; that of the prompts if there are several.

    Raises:
        ShapeError: Longer than the window, or other sizes than the program's.
        SupportError, DTypeError, NonFiniteError: Values that the program cannot have.
        ArgumentError: n is not a positive integer, or not the number of prompts.
    """
    event, site = tuple(program.event_shape), "prompt"
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ArgumentError(program=program.name, site="n", got=n, expected="a positive integer")
    x = as_tensor(prompt, program.name, site)
    x = x[None] if x.dim() == len(event) else x
    _check_shape(program, x, event, site)
    likelihood = sequential(program, _no_context(program)).likelihood
    if x.is_floating_point() and not bool(x.isfinite().all()):
        raise NonFiniteError(
            program=program.name, site=site, got="NaN or infinity", expected="finite numbers"
        )
    if likelihood.discrete and x.is_floating_point() and not bool((x == x.round()).all()):
        raise DTypeError(program=program.name, site=site, got="fractional values", expected="integers")
    check_levels(x, likelihood, program.name, site)
    if x.shape[0] not in (1, n) and n != 1:
        raise ArgumentError(program=program.name, site="n", got=n, expected=f"{x.shape[0]}, one a prompt")
    x = x.to(device=program.device, dtype=program.dtype).expand(max(n, x.shape[0]), *x.shape[1:])
    rows = torch.zeros(x.shape[0], *event, dtype=program.dtype, device=program.device)
    if len(event) == 1:
        rows[:, : x.shape[1]] = x
    else:
        rows[:, :, : x.shape[2]] = x
    return rows.flatten(1), x.shape[1:].numel()


def _no_context(program: Program) -> Tensor | None:
    c = program.context_features
    return torch.zeros(1, c, dtype=program.dtype, device=program.device) if c else None


def _check_shape(program: Program, x: Tensor, event: tuple[int, ...], site: str) -> None:
    if len(event) == 1:
        fits, want = x.dim() == 2, f"(P,) or (n, P) with P ≤ {event[0]}"
    else:
        fits = x.dim() == 4 and x.shape[1] == event[0] and x.shape[3] == event[2]
        want = f"({event[0]}, h, {event[2]}) with h ≤ {event[1]}, alone or n of them"
    along = 1 if len(event) == 1 else 2
    if not fits or x.shape[0] == 0:
        raise ShapeError(program=program.name, site=site, got=f"shape {tuple(x.shape)}", expected=want)
    if x.shape[along] > event[along - 1]:
        raise ShapeError(
            "the prompt is longer than the context",
            program=program.name,
            site=site,
            got=f"shape {tuple(x.shape)}",
            expected=want,
            hint=f"its last values, prompt[-{event[0]}:]" if len(event) == 1 else None,
        )
