"""A bounded energy: a network squashed to ±limit, for exponential tilting of a Gaussian.

    f(x) = l tanh(net(x) / l),      p(x) ∝ exp(−f(x)) N(x; 0, I)

Because |f| ≤ l the tilted density has a finite normaliser whatever the weights, its tails stay Gaussian, and no
chain can run away: the right energy for a prior that is trained jointly with another program.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError
from unigen.nn.mlp import MLP


class Tilt(nn.Module):
    """f(x) = l tanh(net(x) / l), one number an example.

    Args:
        features: D.
        hidden: Widths of the perceptron's hidden layers.
        limit: l, in nats.
        context: C, features of the context.

    References:
        Pang, Han, Nijkamp, Zhu & Wu, Learning latent space energy-based prior model, 2020.

    Example:
        >>> bool((Tilt(3, limit=2.0)(100 * torch.randn(50, 3)).abs() <= 2).all())
        True
    """

    def __init__(
        self, features: int, hidden: Sequence[int] = (128, 128), limit: float = 10.0, context: int = 0
    ) -> None:
        super().__init__()
        if not limit > 0:
            raise ArgumentError(program="Tilt", site="limit", got=limit, expected="> 0")
        self.net, self.limit = MLP(features, 1, hidden=hidden, context=context), limit
        self.features, self.hidden, self.context = features, tuple(hidden), context

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return f, shape (...) for x (..., D)."""
        return self.limit * torch.tanh(self.net(x, context).squeeze(-1) / self.limit)
