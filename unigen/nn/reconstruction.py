"""An energy from a reconstruction: high where a network cannot give its input back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError
from unigen.nn.bounded import Bounded
from unigen.nn.mlp import MLP


class Reconstruction(nn.Module):
    """E(x, c) = ½ Σ_d w_d (x_d − r_d(x, c))², r a perceptron into the range of the data, w > 0.

    Whatever the weights, E grows as ‖x‖² and exp(−E) is integrable, since r is bounded. Data under Gaussian noise of
    standard deviation s have this form to first order, with w = 1/s² and r the denoiser.

    Args:
        features: D, length of x.
        hidden: Widths of the hidden layers.
        context: C, features of the context; 0 for none.
        spread: 1/√w at the start.

    References:
        Zhao, Mathieu & LeCun, Energy-based generative adversarial networks, 2017; Salimans & Ho, Should EBMs model the
        energy or the score?, 2021.

    Example:
        >>> Reconstruction(3)(torch.randn(5, 3)).shape
        torch.Size([5])
    """

    def __init__(
        self, features: int, hidden: Sequence[int] = (256, 256), context: int = 0, spread: float = 1.0
    ) -> None:
        super().__init__()
        if not spread > 0:
            raise ArgumentError(program="Reconstruction", site="spread", got=spread, expected="> 0")
        self.r = Bounded(MLP(features, features, hidden=hidden, context=context), features)
        self.log_w = nn.Parameter(torch.full((features,), -2.0 * math.log(spread)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return E(x, c), shape (...) for x (..., D)."""
        return 0.5 * (self.log_w.exp() * (x - self.r(x, context)).square()).sum(-1)
