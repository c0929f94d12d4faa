"""A network whose output stays in a box: the range of the data, feature by feature."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDEST = 4.0  # half the side of the box before data are seen


class Bounded(nn.Module):
    """y = a + (b − a) ⊙ σ(net(x, c)), σ the logistic function.

    Images and other bounded data have sharp edges that a linear output blurs; a box gives them for free, and for
    unbounded data cuts no more than what lies beyond the extremes that were seen.

    Args:
        net: Network to (..., D).
        features: D.

    Example:
        >>> net = Bounded(nn.Linear(3, 2), 2)
        >>> net.set_range(torch.tensor([[0.0, 5.0], [1.0, 7.0]]))
        >>> y = net(100 * torch.randn(50, 3))
        >>> bool((y[:, 0] <= 1).all() and (y[:, 1] >= 5).all())
        True
    """

    low: Tensor
    high: Tensor

    def __init__(self, net: nn.Module, features: int) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("low", torch.full((features,), -WIDEST))
        self.register_buffer("high", torch.full((features,), WIDEST))

    @torch.no_grad()
    def set_range(self, x: Tensor) -> None:
        """Take a and b, the smallest and the largest value of each feature, from data (N, D)."""
        self.low.copy_(x.amin(0))
        self.high.copy_(torch.maximum(x.amax(0), self.low + 1e-6))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return y, shape (..., D)."""
        raw = self.net(x) if context is None else self.net(x, context)
        return self.low + (self.high - self.low) * torch.sigmoid(raw)
