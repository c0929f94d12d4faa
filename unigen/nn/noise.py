"""Diffusion coefficients g(z, t) > 0 of stochastic differential equations, one for each coordinate of the state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError
from unigen.nn.mlp import check_features

LARGE = 4.0  # times the scale, the most that DiagonalNoise reaches


def _check(name: str, features: int, scale: float) -> None:
    if features < 1 or not 0.0 < scale < float("inf"):
        got = f"features={features}, scale={scale}"
        raise ArgumentError(program=name, got=got, expected="features ≥ 1, scale > 0")


class ConstantNoise(nn.Module):
    """g_i = exp(a_i): additive noise, which Itô and Stratonovich read alike.

    Args:
        features: L.
        scale: Initial value.
        learned: Whether a is a parameter.

    Raises:
        ArgumentError: L < 1, or a scale that is not positive.

    Example:
        >>> ConstantNoise(2, 0.5)(torch.zeros(3, 2), torch.zeros(())).shape
        torch.Size([3, 2])
    """

    log_scale: Tensor

    def __init__(self, features: int, scale: float = 1.0, learned: bool = True) -> None:
        super().__init__()
        _check("ConstantNoise", features, scale)
        self.features, self.scale, self.learned = features, scale, learned
        log_scale = torch.full((features,), scale).log()
        if learned:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return g, the shape of x (..., L)."""
        check_features("ConstantNoise", "x", x, self.features)
        return self.log_scale.exp().expand(x.shape)


class DiagonalNoise(nn.Module):
    """g_i(z_i) in (0, 4 scale), a perceptron for each coordinate: multiplicative noise that SRK and Milstein take.

    g_i = 4 scale sigmoid(v_i · tanh(w_i z_i + b_i) + c)

    Args:
        features: L.
        scale: Initial value, about.
        hidden: Units of each perceptron.

    Raises:
        ArgumentError: A size below one, or a scale that is not positive.

    Example:
        >>> DiagonalNoise(2)(torch.randn(3, 2), torch.zeros(())).shape
        torch.Size([3, 2])
    """

    def __init__(self, features: int, scale: float = 1.0, hidden: int = 16) -> None:
        super().__init__()
        _check("DiagonalNoise", min(features, hidden), scale)
        self.features, self.scale, self.hidden = features, scale, hidden
        self.weight = nn.Parameter(torch.randn(features, hidden))
        self.bias = nn.Parameter(torch.randn(features, hidden))
        self.out = nn.Parameter(torch.randn(features, hidden) * 0.1 / hidden**0.5)
        self.level = nn.Parameter(torch.full((features,), 1.0 / LARGE).logit())

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return g, the shape of x (..., L)."""
        check_features("DiagonalNoise", "x", x, self.features)
        inner = (torch.tanh(x[..., None] * self.weight + self.bias) * self.out).sum(-1)
        return LARGE * self.scale * torch.sigmoid(inner + self.level)
