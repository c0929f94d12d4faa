"""Embedding of time, t in [0, 1] (0 = data, 1 = noise), as sines and cosines of geometric frequencies."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError


class TimeEmbedding(nn.Module):
    """Sinusoidal embedding of a time in [0, 1].

    e(t) = √2 · [cos(2π f_k t), sin(2π f_k t)]_k,   f_k geometric from ``low`` to ``high``, k = 1 … E/2,

    so that e(s)·e(t) = 2 Σ_k cos(2π f_k (s − t)) depends on s − t only and the mean square of e(t) is one.

    Args:
        features: E, the even length of the embedding.
        low: Smallest frequency, in cycles per unit of time.
        high: Largest frequency; a time step of 1 / (4 high) is still resolved.

    References:
        Vaswani et al., Attention is all you need, 2017; Rahimi & Recht, Random features, 2007.

    Example:
        >>> TimeEmbedding(8)(torch.rand(5)).shape
        torch.Size([5, 8])
    """

    frequencies: Tensor

    def __init__(self, features: int = 64, low: float = 0.125, high: float = 64.0) -> None:
        super().__init__()
        if features < 2 or features % 2:
            raise ArgumentError(
                program="TimeEmbedding", site="features", got=features, expected="an even number ≥ 2"
            )
        if not 0.0 < low <= high:
            raise ArgumentError(
                program="TimeEmbedding", got=f"low={low}, high={high}", expected="0 < low ≤ high"
            )
        self.features = features
        exponents = torch.linspace(math.log(low), math.log(high), features // 2, dtype=torch.float64)
        self.register_buffer(
            "frequencies", (2 * math.pi * exponents.exp()).to(torch.get_default_dtype()), persistent=False
        )

    def forward(self, t: Tensor) -> Tensor:
        """Embed the times.

        Args:
            t: Times, any shape (...).

        Returns:
            Embeddings of mean square one, shape (..., E).
        """
        phase = t.to(self.frequencies.dtype).unsqueeze(-1) * self.frequencies
        return torch.cat([phase.cos(), phase.sin()], dim=-1) * math.sqrt(2.0)

    def extra_repr(self) -> str:
        """Say the length of the embedding."""
        return f"features={self.features}"
