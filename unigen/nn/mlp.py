"""The multilayer perceptron: x of shape (..., D) to (..., O), given an optional context of shape (..., C)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError, ContextError, ShapeError


def check_features(name: str, site: str, value: Tensor, features: int) -> None:
    """Refuse a tensor whose last dimension is not ``features``.

    Args:
        name: Name of the network, for the message.
        site: Name of the argument, for the message.
        value: The tensor.
        features: The length wanted.

    Raises:
        ShapeError: If the last dimension differs.
    """
    if value.dim() == 0 or value.shape[-1] != features:
        raise ShapeError(
            program=name,
            site=site,
            got=tuple(value.shape),
            expected=f"(..., {features})",
            hint="put the features last, flattened to one dimension",
        )


def check_context(name: str, context: Tensor | None, features: int) -> None:
    """Refuse a context that is missing, not wanted, or of the wrong length.

    Args:
        name: Name of the network, for the message.
        context: The context, shape (..., C), or None.
        features: C; zero for an unconditional network.

    Raises:
        ContextError: If context and ``features`` do not agree.
    """
    if features == 0 and context is not None:
        raise ContextError(
            program=name,
            got=f"a context of shape {tuple(context.shape)}",
            expected="none",
            hint="construct the network with context=C",
        )
    if features > 0 and context is None:
        raise ContextError(program=name, got="no context", expected=f"shape (..., {features})")
    if features > 0 and context is not None and (context.dim() == 0 or context.shape[-1] != features):
        raise ContextError(program=name, got=tuple(context.shape), expected=f"(..., {features})")


def concatenate(x: Tensor, context: Tensor) -> Tensor:
    """Join x (..., D) and context (..., C) along the last dimension, leading dimensions broadcast.

    Args:
        x: Shape (..., D).
        context: Shape (..., C); (N, C) meets (S, N, D) as well as (N, D).

    Returns:
        Shape (..., D + C).

    Raises:
        ShapeError: If the leading dimensions do not broadcast.
    """
    try:
        lead = torch.broadcast_shapes(x.shape[:-1], context.shape[:-1])
    except RuntimeError as error:
        raise ShapeError(
            "x and context have leading dimensions that do not broadcast",
            got=f"x {tuple(x.shape)} and context {tuple(context.shape)}",
            expected="(..., N, D) and (N, C)",
        ) from error
    return torch.cat([x.expand(*lead, x.shape[-1]), context.expand(*lead, context.shape[-1])], dim=-1)


class MLP(nn.Module):
    """Multilayer perceptron with an optional context.

    h_0 = [x, c],  h_l = a(W_l h_{l-1} + b_l),  y = W h_L + b.

    Args:
        in_features: D, length of x.
        out_features: O, length of the output.
        hidden: Widths of the hidden layers; () gives an affine map.
        activation: a; copied for each layer, so that an activation with parameters is not shared.
        context: C, length of the context; 0 for none.

    References:
        Rumelhart, Hinton & Williams, Learning representations by back-propagating errors, 1986.

    Example:
        >>> MLP(3, 2, context=4)(torch.randn(7, 5, 3), torch.randn(5, 4)).shape
        torch.Size([7, 5, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: Sequence[int] = (64, 64),
        activation: nn.Module = nn.SiLU(),
        context: int = 0,
    ) -> None:
        super().__init__()
        widths = [in_features + context, *hidden, out_features]
        if in_features < 0 or context < 0 or min(widths) < 1:
            raise ArgumentError(
                program="MLP",
                got=f"in_features={in_features}, out_features={out_features}, hidden={tuple(hidden)}, "
                f"context={context}",
                expected="positive widths (context ≥ 0)",
            )
        self.in_features, self.out_features, self.context = in_features, out_features, context
        layers: list[nn.Module] = []
        for width, following in pairwise(widths[:-1]):
            layers += [nn.Linear(width, following), copy.deepcopy(activation)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Apply the network.

        Args:
            x: Shape (..., D).
            context: Shape (..., C), broadcast over the leading dimensions of x; None when C = 0.

        Returns:
            Shape (..., O).

        Raises:
            ShapeError: If x does not end in D.
            ContextError: If the context is missing, unexpected or of the wrong length.
        """
        check_features("MLP", "x", x, self.in_features)
        check_context("MLP", context, self.context)
        return self.layers(x if context is None else concatenate(x, context))
