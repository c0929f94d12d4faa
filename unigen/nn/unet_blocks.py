"""What a UNet is made of: residual convolutions modulated by time and context, and self-attention over pixels.

Notation: feature maps h (N, F, H, W), e (N, E) the embedding of time and context; GN normalises groups of channels
over all pixels, a is SiLU.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError


def check_groups(name: str, features: int, groups: int, site: str = "groups") -> None:
    """Refuse channels that do not fall into groups of one size.

    Raises:
        ArgumentError: F is not divisible by the number of groups, or that number is below one.
    """
    if groups < 1 or features < 1 or features % groups:
        raise ArgumentError(
            f"{features} channels do not fall into {groups} groups of one size",
            program=name, site=site, got=f"{features} channels, {site}={groups}",
            expected=f"channels divisible by {site}",
            hint=f"{site}={math.gcd(features, groups)}" if features > 0 and groups > 0 else None,
        )  # fmt: skip


class ResidualConv(nn.Module):
    """One residual step of two 3×3 convolutions, modulated by an embedding e of time and context.

    S h + W_2 * a(GN(W_1 * a(GN(h))) (1 + γ(e)) + β(e)),   S the identity, or a 1×1 convolution if F changes.

    Args:
        features: F of what comes in.
        out_features: F of what goes out.
        embedding: E; 0 for none.
        groups: Groups of GN.

    References:
        He et al. 2016; Wu & He, Group normalization, 2018; Dhariwal & Nichol, Diffusion models beat GANs, 2021.
    """

    def __init__(self, features: int, out_features: int, *, embedding: int = 0, groups: int = 8) -> None:
        super().__init__()
        check_groups("ResidualConv", features, groups)
        check_groups("ResidualConv", out_features, groups)
        self.norm_in = nn.GroupNorm(groups, features)
        self.conv_in = nn.Conv2d(features, out_features, 3, padding=1)
        self.norm_out = nn.GroupNorm(groups, out_features)
        self.modulation = nn.Linear(embedding, 2 * out_features) if embedding else None
        self.conv_out = nn.Conv2d(out_features, out_features, 3, padding=1)
        self.skip = None if features == out_features else nn.Conv2d(features, out_features, 1)

    def forward(self, h: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Apply the step.

        Args:
            h: Shape (N, F, H, W).
            embedding: e, shape (N, E), or None.

        Returns:
            Shape (N, F_out, H, W).
        """
        silu = nn.functional.silu
        inner = self.norm_out(self.conv_in(silu(self.norm_in(h))))
        if self.modulation is not None and embedding is not None:
            scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
            inner = inner * (1 + scale) + shift
        return (h if self.skip is None else self.skip(h)) + self.conv_out(silu(inner))


class PixelAttention(nn.Module):
    """Every pixel attends to every pixel of its image: h + W_o softmax(q kᵀ / √d) v, (q, k, v) = W GN(h).

    Memory and time grow with (H W)², so it belongs where feature maps are small.

    Args:
        features: F.
        heads: Heads, of d = F / heads channels each.
        groups: Groups of GN.

    References:
        Vaswani et al., Attention is all you need, 2017; Wang et al., Non-local neural networks, 2018.
    """

    def __init__(self, features: int, *, heads: int = 4, groups: int = 8) -> None:
        super().__init__()
        check_groups("PixelAttention", features, groups)
        check_groups("PixelAttention", features, heads, "heads")
        self.heads = heads
        self.norm = nn.GroupNorm(groups, features)
        self.project_in = nn.Conv2d(features, 3 * features, 1)
        self.project_out = nn.Conv2d(features, features, 1)

    def forward(self, h: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Apply attention.

        Args:
            h: Shape (N, F, H, W).
            embedding: Not used; taken so that blocks are called alike.

        Returns:
            Shape (N, F, H, W).
        """
        each = h.shape[1] // self.heads
        q, k, v = self.project_in(self.norm(h)).flatten(2).unflatten(1, (3, self.heads, each)).unbind(1)
        weights = torch.softmax(torch.matmul(q.transpose(-2, -1) / math.sqrt(each), k), dim=-1)
        mixed = torch.matmul(v, weights.transpose(-2, -1))
        return h + self.project_out(mixed.flatten(1, 2).unflatten(-1, h.shape[-2:]))
