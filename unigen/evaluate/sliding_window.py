"""Scores of a text that is longer than a program's window, token by token."""

from __future__ import annotations

import torch
from torch import Tensor

from unigen.checks import check_context
from unigen.distributions.finite import check_levels
from unigen.distributions.sequential import SequentialDistribution
from unigen.errors import ArgumentError, EmptyDataError, ShapeError, UnsupportedQueryError
from unigen.logprob import Kind, LogProb
from unigen.program import Program
from unigen.queries import evaluating

WINDOWS = 32  # scored at a time


def sliding_log_prob(
    program: Program,
    tokens: Tensor,
    context: Tensor | None = None,
    *,
    stride: int | None = None,
    history: Tensor | None = None,
) -> LogProb:
    """Return log p(x_t | x_{t−h} … x_{t−1}) of every token of a text, T − stride ≤ h < T once there are as many.

        nats a token = −1/M Σ_t log p(x_t | x_{t−h} … x_{t−1}),    perplexity = exp(nats a token)

    Windows of T tokens start ``stride`` apart, and each scores the tokens that the one before has not: a density of
    the whole text, exact, in M / stride passes over T tokens. A stride of 1 gives every token the longest past.

    Args:
        program: A program over sequences of T tokens, such as a ``Transformer``.
        tokens: The text, integers, shape (M,), of any length M ≥ 1.
        context: Shape (1, C) for a conditional program.
        stride: Tokens from one window to the next, 1 … T; T / 2 if omitted.
        history: Tokens that stand before the text, shape (H,): read, up to T − stride of them, but not scored.

    Returns:
        LogProb of M values in nats: ``.mean()`` is minus the nats a token, ``.bits_per_dim()`` the bits a token and
        ``.perplexity()`` the perplexity. The standard error of the mean takes tokens for independent.

    Raises:
        ArgumentError: A stride outside 1 … T.
        EmptyDataError, ShapeError, SupportError: No tokens, a batch, or a token outside the vocabulary.
        UnsupportedQueryError: The program is no autoregressive density over one kind of token.

    Example:
        >>> from unigen.models.transformer import Transformer
        >>> program = Transformer(length=4, vocabulary=3, width=8, heads=2, layers=1)
        >>> sliding_log_prob(program, torch.tensor([0, 1, 2, 0, 1, 2, 2]), stride=2).value.shape
        torch.Size([7])
    """
    density = program.marginal(
        check_context(context, program.context_features, 1, program.dtype, program.name)
    )
    if not isinstance(density, SequentialDistribution) or len(program.event_shape) != 1:
        raise UnsupportedQueryError(
            "no autoregressive density of sequences", program=program.name, hint="ug.Transformer"
        )
    length = program.event_shape[0]
    stride = max(1, length // 2) if stride is None else stride
    if not 1 <= stride <= length:
        raise ArgumentError(program=program.name, site="stride", got=stride, expected=f"1 … {length}")
    parts = [_checked(program, density, tokens, "tokens")]
    if history is not None and length > stride:
        parts.insert(0, _checked(program, density, history, "history")[stride - length :])
    with evaluating(program), torch.no_grad():
        value = _windows(density, torch.cat(parts), stride)
    return LogProb(value[-tokens.shape[0] :], Kind.EXACT, dims=1)


def _checked(program: Program, density: SequentialDistribution, tokens: Tensor, site: str) -> Tensor:
    if tokens.dim() != 1:
        raise ShapeError(program=program.name, site=site, got=tuple(tokens.shape), expected="(M,)")
    if tokens.shape[0] == 0:
        raise EmptyDataError(program=program.name, site=site, got="0 tokens", expected="at least one")
    check_levels(tokens, density.likelihood, program.name, site)
    return tokens.to(device=program.device, dtype=program.dtype)


def _windows(density: SequentialDistribution, x: Tensor, stride: int) -> Tensor:
    """Return log p of every token of x (M,)."""
    m, length = x.shape[0], density.event_shape[0]
    if m < length:  # what stands after the text changes nothing before it
        x = torch.cat((x, x.new_full((length - m,), float(x[0]))))
    last = x.shape[0] - length
    starts = torch.tensor([*range(0, last, stride), last], device=x.device)
    found = []
    for some in starts.split(WINDOWS):
        found.append(density.conditional_log_prob(x[some[:, None] + torch.arange(length, device=x.device)]))
    each = torch.cat(found)
    new = starts.diff(prepend=starts.new_tensor([-length]))  # tokens that no window before has scored
    keep = torch.arange(length, device=x.device) >= length - new[:, None]
    return each[keep][:m]
