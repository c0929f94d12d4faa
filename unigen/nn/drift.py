"""A smooth perceptron in state and time: net(x, t, c), the drift of neural ODEs and continuous flows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unigen.nn.mlp import MLP, check_context
from unigen.nn.residual import broadcast_time
from unigen.nn.time_embedding import TimeEmbedding

SMALL = 0.1  # factor of the last layer at initialisation: the flow starts near the identity


class DriftMLP(nn.Module):
    """Perceptron of the state, of a slow embedding of time and of the context.

    net(x, t, c) = MLP([x, e(t), c])

    The embedding has frequencies of at most two cycles per unit of time and the activations are smooth, so that an
    adaptive solver can take long steps.

    Args:
        features: D, length of x and of the output.
        hidden: Widths of the hidden layers.
        context: C, length of the context; 0 for none.
        activation: A smooth activation; copied for each layer.

    References:
        Chen et al., Neural ordinary differential equations, 2018; Grathwohl et al., FFJORD, 2019.

    Example:
        >>> DriftMLP(2, hidden=(16,), context=3)(torch.randn(5, 2), torch.rand(5), torch.randn(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (64, 64, 64),
        context: int = 0,
        activation: nn.Module = nn.SiLU(),
    ) -> None:
        super().__init__()
        self.context = context
        self.embed = TimeEmbedding(8, low=0.25, high=2.0)
        self.body = MLP(features, features, hidden, activation, context=8 + context)
        with torch.no_grad():
            for parameter in self.body.layers[-1].parameters():
                parameter.mul_(SMALL)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """Apply the network.

        Args:
            x: State, (..., D).
            t: Times, () or (...).
            context: Shape (..., C), or None.

        Returns:
            Drift, (..., D).

        Raises:
            ShapeError: x does not end in D, or t does not meet x.
            ContextError: The context is missing, unexpected or of the wrong length.
        """
        check_context("DriftMLP", context, self.context)
        e = self.embed(broadcast_time(t, x))
        if context is not None:
            e = torch.cat([e, context.expand(*e.shape[:-1], context.shape[-1])], dim=-1)
        return self.body(x, e)
