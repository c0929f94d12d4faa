"""A drift that does not depend on time: net(x, t, c) = MLP([x, c])."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unigen.nn.mlp import MLP


class Autonomous(nn.Module):
    """A perceptron of the state alone, called with a time as drifts are.

    net(x, t, c) = MLP([x, c])

    Args:
        features: D, length of x and of the output.
        hidden: Widths of the hidden layers; () gives an affine drift.
        context: C, length of the context; 0 for none.
        bounded: Hidden units are tanh, so that with one hidden layer or more the drift is bounded: a solution then
            moves no further than in proportion to time, wherever it starts.

    Example:
        >>> Autonomous(2, hidden=(8,))(torch.randn(5, 2), torch.zeros(())).shape
        torch.Size([5, 2])
    """

    def __init__(
        self, features: int, hidden: Sequence[int] = (64, 64), context: int = 0, *, bounded: bool = False
    ) -> None:
        super().__init__()
        self.features, self.hidden, self.context, self.bounded = features, hidden, context, bounded
        activation = {"activation": nn.Tanh()} if bounded else {}
        self.body = MLP(features, features, hidden, context=context, **activation)
        with torch.no_grad():
            for parameter in self.body.layers[-1].parameters():
                parameter.mul_(0.1)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the drift, the shape of x (..., D), given a context (..., C) whose leading dimensions broadcast."""
        return self.body(x, context)
