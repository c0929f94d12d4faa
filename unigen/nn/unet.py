"""A small UNet net(x_t, t, c) from images to images: the network of diffusions, flows and velocities on pixels.

    stem, then residual blocks on every scale on the way down; a middle block; the same on the way up, where every
    block also sees what its counterpart on the way down made; a last convolution, zero at first.

Notation: images x (C, H, W); P × P patches; scale k = 0 … K−1 has F_k channels and sides H / (P 2^k), W / (P 2^k);
t in [0, 1] (0 = data, 1 = noise); c (N, C') context.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError, ShapeError
from unigen.nn.mlp import check_context
from unigen.nn.residual import broadcast_time
from unigen.nn.time_embedding import TimeEmbedding
from unigen.nn.unet_blocks import PixelAttention, ResidualConv, check_groups


class Stage(nn.Module):
    """A residual block, and self-attention behind it where it is wanted.

    Args:
        block: The block.
        attention: The attention, or None.
    """

    def __init__(self, block: ResidualConv, attention: PixelAttention | None) -> None:
        super().__init__()
        self.block, self.attention = block, attention

    def forward(self, h: Tensor, embedding: Tensor | None) -> Tensor:
        """Return the next features, (N, F, H, W)."""
        h = self.block(h, embedding)
        return h if self.attention is None else self.attention(h)


class UNet(nn.Module):
    """UNet from images to images, given a time and a context, zero at initialisation.

    A learned map of position is added to the first features: programs subtract the mean of every pixel, which a
    convolution alone could not undo. Parameters, with B blocks a scale and an embedding of length E = 4 F_0, up to
    biases, stem and position: Σ_k B (47 F_k² + 4 E F_k) + 18 F² + 2 E F for the middle, 8 F_k F_{k+1} between scales,
    4 F² an attention; ``channels=(32, 64, 64)`` on 28 × 28 has 0.76 million.

    Args:
        shape: (C, H, W), also the shape of the output.
        channels: F_k, one a scale; sides are halved from each to the next.
        blocks: B, residual blocks a scale on each way.
        attention: Heights of feature maps with self-attention; the smallest only if None, () for none.
        patch: P; images are cut into P × P patches whose pixels become channels: P² times cheaper at full size.
        heads: Heads of the attention.
        groups: Groups of the group normalisation.
        time: Whether the network is given a time.
        context: C', length of the context; 0 for none.

    Raises:
        ArgumentError: A size below one, sides that cannot be halved as often, channels that do not fall into groups
            or heads, or attention at a height that does not occur.

    References:
        Ronneberger, Fischer & Brox, U-Net, 2015; Ho, Jain & Abbeel, Denoising diffusion probabilistic models, 2020;
        Hoogeboom, Heek & Salimans, simple diffusion, 2023 (patches).

    Example:
        >>> net = UNet((1, 28, 28), channels=(8, 16), context=10)
        >>> net(torch.randn(5, 1, 28, 28), torch.rand(5), torch.randn(5, 10)).shape
        torch.Size([5, 1, 28, 28])
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        channels: Sequence[int] = (32, 64, 64),
        blocks: int = 1,
        attention: Sequence[int] | None = None,
        patch: int = 1,
        heads: int = 4,
        groups: int = 8,
        time: bool = True,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.shape, self.channels = tuple(shape), tuple(channels)
        self.blocks, self.patch, self.heads, self.groups = blocks, patch, heads, groups
        self.time, self.context = time, context
        heights = self._sides()
        self.attention = (heights[-1],) if attention is None else tuple(attention)
        self._check(heights)
        first, pixels = self.channels[0], self.shape[0] * patch**2
        embedding = 4 * first if time or context else 0
        self.embed_time = (
            nn.Sequential(TimeEmbedding(64), nn.Linear(64, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
            if time
            else None
        )  # fmt: skip
        self.embed_context = nn.Linear(context, embedding) if context else None
        self.stem = nn.Conv2d(pixels, first, 3, padding=1)
        self.position = nn.Parameter(torch.zeros(first, self.shape[1] // patch, self.shape[2] // patch))
        self._build(heights, embedding)
        self.norm = nn.GroupNorm(groups, first)
        self.last = nn.Conv2d(first, pixels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.get_parameter("bias"))

    def _sides(self) -> list[int]:
        """Return the height of every scale, or refuse the shape."""
        sizes = (*self.shape, *self.channels, self.blocks, self.patch, self.heads, self.groups)
        if len(self.shape) != 3 or not self.channels or min(sizes) < 1 or self.context < 0:
            raise ArgumentError(
                program="UNet", site="shape, channels, blocks, patch, heads, groups, context",
                got=(self.shape, self.channels, *sizes[-4:], self.context),
                expected="(C, H, W), at least one scale, sizes ≥ 1 and context ≥ 0",
            )  # fmt: skip
        factor = self.patch * 2 ** (len(self.channels) - 1)
        if self.shape[1] % factor or self.shape[2] % factor:
            raise ArgumentError(
                f"sides must be divisible by patch · 2^(scales − 1) = {factor}",
                program="UNet", site="shape", got=f"{self.shape} with {len(self.channels)} scales",
                expected=f"sides divisible by {factor}", hint="fewer channels=(…), a smaller patch, or padding",
            )  # fmt: skip
        return [self.shape[1] // self.patch >> k for k in range(len(self.channels))]

    def _check(self, heights: Sequence[int]) -> None:
        missing = sorted(set(self.attention) - set(heights))
        if missing:
            raise ArgumentError(
                program="UNet", site="attention", got=f"{missing}, heights of no feature map",
                expected=f"some of {heights}",
            )  # fmt: skip
        for features, height in zip(self.channels, heights, strict=True):
            check_groups("UNet", features, self.groups)
            if height in self.attention:
                check_groups("UNet", features, self.heads, "heads")

    def _build(self, heights: Sequence[int], embedding: int) -> None:
        """Make the stages of both ways, the middle, and what leads from scale to scale."""

        def stage(features: int, out: int, height: int) -> Stage:
            block = ResidualConv(features, out, embedding=embedding, groups=self.groups)
            wanted = height in self.attention
            return Stage(block, PixelAttention(out, heads=self.heads, groups=self.groups) if wanted else None)

        scales = list(zip(self.channels, heights, strict=True))
        self.down = nn.ModuleList(
            nn.ModuleList(stage(f, f, h) for _ in range(self.blocks)) for f, h in scales
        )
        self.middle = stage(self.channels[-1], self.channels[-1], heights[-1])
        self.up = nn.ModuleList(
            nn.ModuleList(stage(2 * f, f, h) for _ in range(self.blocks)) for f, h in reversed(scales)
        )
        steps = list(zip(self.channels[:-1], self.channels[1:], strict=True))
        self.smaller = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in steps)
        self.larger = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in reversed(steps))

    def _embedding(self, flat: Tensor, t: Tensor | None, context: Tensor | None) -> Tensor | None:
        """Return e = a(e(t) + W c) of shape (N, E), one row for each of the flattened images (..., D), or None."""
        e = None
        if self.embed_time is not None and t is not None:
            e = self.embed_time(broadcast_time(t, flat).reshape(-1))
        if self.embed_context is not None and context is not None:
            rows = self.embed_context(context).expand(*flat.shape[:-1], -1).flatten(0, -2)
            e = rows if e is None else e + rows
        return None if e is None else nn.functional.silu(e)

    def _flat(self, x: Tensor, t: Tensor | None, context: Tensor | None) -> Tensor:
        """Return the images as vectors (..., D), or refuse the arguments."""
        check_context("UNet", context, self.context)
        if self.time != (t is not None):
            raise ArgumentError(
                program="UNet", site="t", got="no t" if t is None else "a t",
                expected="a time for each image" if self.time else "none (constructed with time=False)",
            )  # fmt: skip
        size = math.prod(self.shape)
        if x.dim() > 3 and tuple(x.shape[-3:]) == self.shape:
            return x.flatten(-3)
        if x.dim() < 2 or x.shape[-1] != size:
            raise ShapeError(
                program="UNet", site="x", got=tuple(x.shape), expected=f"(N, {self.shape}) or (N, {size})"
            )
        return x

    def forward(self, x: Tensor, t: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """Apply the network.

        Args:
            x: x_t, shape (..., C, H, W) or (..., C · H · W), with at least one leading dimension.
            t: Times in [0, 1], shape () or (...); None when ``time=False``.
            context: Shape (..., C'), broadcast over the leading dimensions of x; None when C' = 0.

        Returns:
            The shape of x.

        Raises:
            ArgumentError: If t is missing or not wanted.
            ShapeError: If x is no such image, or t does not meet x.
            ContextError: If the context is missing, unexpected or of the wrong length.
        """
        flat = self._flat(x, t, context)
        e = self._embedding(flat, t, context)
        images = flat.reshape(-1, *self.shape)
        h = self.stem(nn.functional.pixel_unshuffle(images, self.patch)) + self.position
        kept: list[Tensor] = []
        for k, scale in enumerate(self.down):
            h = h if k == 0 else self.smaller[k - 1](h)
            for stage in scale.children():
                h = stage(h, e)
                kept.append(h)
        h = self.middle(h, e)
        for k, scale in enumerate(self.up):
            h = h if k == 0 else self.larger[k - 1](h)
            for stage in scale.children():
                h = stage(torch.cat([h, kept.pop()], dim=1), e)
        out = self.last(nn.functional.silu(self.norm(h)))
        return nn.functional.pixel_shuffle(out, self.patch).reshape(x.shape)
