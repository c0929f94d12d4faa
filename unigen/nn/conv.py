"""Convolutional networks between images and vectors: the encoder and decoder of a VAE on images.

    encoder: (N, C, H, W) → residual blocks, each followed by halving the sides while they are even and above 4 → O
    decoder: (..., L) → the same the other way round → C · H · W · P numbers, the P of one feature side by side

Notation: images (C, H, W), F features, P parameters a feature. Images come and go flat too, (N, C · H · W): then the
networks stand in a program of vectors as well as in one of images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from unigen.errors import ArgumentError, ShapeError
from unigen.nn.mlp import check_context, concatenate

SMALLEST = 4  # sides are not halved below it


def halvings(shape: Sequence[int]) -> int:
    """Return how often both sides of an image (C, H, W) are halved.

    Example:
        >>> halvings((1, 8, 8)), halvings((3, 64, 64)), halvings((1, 28, 28))
        (1, 4, 2)
    """
    h, w = shape[1:]
    count = 0
    while h % 2 == w % 2 == 0 and min(h, w) > SMALLEST:
        h, w, count = h // 2, w // 2, count + 1
    return count


class Block(nn.Module):
    """h + conv(silu(conv(silu(h)))), 3 × 3.

    Args:
        features: F.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(features, features, 3, padding=1)
        self.two = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """Return the next features, shape (N, F, H, W)."""
        silu = nn.functional.silu
        return h + self.two(silu(self.one(silu(h))))


class Double(nn.Module):
    """Every pixel becomes 2 × 2 of itself."""

    def forward(self, h: Tensor) -> Tensor:
        """Return (N, F, 2H, 2W) of (N, F, H, W)."""
        return h[..., None].expand(*h.shape, 2).flatten(-2).repeat_interleave(2, dim=-2)


class ConvEncoder(nn.Module):
    """x, c ↦ O numbers, by convolutions.

    Args:
        image: (C, H, W).
        out_features: O: 2L for the default posterior of a VAE with L latents.
        width: F at full size; doubled with every halving of the sides, up to four times.
        context: C', features of a context.

    Raises:
        ArgumentError: A size below one.

    Example:
        >>> import torch
        >>> ConvEncoder((1, 8, 8), 6, width=4)(torch.zeros(5, 64)).shape
        torch.Size([5, 6])
    """

    def __init__(self, image: Sequence[int], out_features: int, *, width: int = 32, context: int = 0) -> None:
        super().__init__()
        self.image, self.context = _check(image, out_features, width, context), context
        self.out_features, self.width = out_features, width
        widths = _widths(self.image, width)
        self.first = nn.Conv2d(self.image[0], width, 3, padding=1)
        stages: list[nn.Module] = []
        for a, b in zip(widths[:-1], widths[1:], strict=True):
            stages += [Block(a), nn.Conv2d(a, b, 2, stride=2)]
        self.stages = nn.Sequential(*stages, Block(widths[-1]))
        self.last = nn.Linear(_small(self.image, widths) + context, out_features)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the output of images.

        Args:
            x: Shape (..., C, H, W) or (..., C · H · W).
            context: Shape (..., C'), or None.

        Returns:
            Shape (..., O).

        Raises:
            ShapeError: x is no such image.
        """
        check_context("ConvEncoder", context, self.context)
        size = math.prod(self.image)
        flat = x.dim() < 3 or tuple(x.shape[-3:]) != self.image
        if flat and (x.dim() == 0 or x.shape[-1] != size):
            raise ShapeError(
                program="ConvEncoder",
                site="x",
                got=tuple(x.shape),
                expected=f"(..., {size}) or (..., {self.image})",
            )
        leading = x.shape[:-1] if flat else x.shape[:-3]
        h = self.stages(self.first(x.reshape(-1, *self.image))).flatten(1)
        h = nn.functional.silu(h).reshape(*leading, -1)
        return self.last(h if context is None else concatenate(h, context))


class ConvDecoder(nn.Module):
    """z, c ↦ P numbers for each feature of an image, by convolutions.

    Args:
        latents: L.
        image: (C, H, W).
        per_feature: P, ``likelihood.parameters_per_feature``: 1 for ``Gaussian()`` and ``Bernoulli()``.
        width: F at full size, as in the encoder.
        context: C', features of a context.

    Raises:
        ArgumentError: A size below one.

    References:
        Odena, Dumoulin & Olah, Deconvolution and checkerboard artifacts, Distill 2016 (nearest-neighbour upsampling).

    Example:
        >>> import torch
        >>> ConvDecoder(2, (1, 8, 8), width=4)(torch.zeros(7, 5, 2)).shape
        torch.Size([7, 5, 64])
    """

    def __init__(
        self, latents: int, image: Sequence[int], *, per_feature: int = 1, width: int = 32, context: int = 0
    ) -> None:
        super().__init__()
        self.image, self.context = _check(image, min(latents, per_feature), width, context), context
        self.latents, self.per_feature, self.width = latents, per_feature, width
        widths = _widths(self.image, width)[::-1]
        times = halvings(self.image)
        self.small = (widths[0], self.image[1] >> times, self.image[2] >> times)
        self.first = nn.Linear(latents + context, math.prod(self.small))
        stages: list[nn.Module] = [Block(widths[0])]
        for a, b in zip(widths[:-1], widths[1:], strict=True):
            stages += [Double(), nn.Conv2d(a, b, 3, padding=1), Block(b)]
        self.stages = nn.Sequential(*stages)
        self.last = nn.Conv2d(width, self.image[0] * per_feature, 3, padding=1)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters of every feature.

        Args:
            z: Shape (..., L).
            context: Shape (..., C'), or None.

        Returns:
            Shape (..., C · H · W · P).
        """
        check_context("ConvDecoder", context, self.context)
        h = self.first(z if context is None else concatenate(z, context))
        leading = h.shape[:-1]
        h = nn.functional.silu(self.stages(h.reshape(-1, *self.small)))
        raw = self.last(h).unflatten(1, (self.image[0], self.per_feature))
        return raw.movedim(2, -1).reshape(*leading, -1)


def _check(image: Sequence[int], features: int, width: int, context: int) -> tuple[int, int, int]:
    if len(image) != 3 or min(*image, features, width) < 1 or context < 0:
        raise ArgumentError(
            site="image, features, width, context", got=(tuple(image), features, width, context),
            expected="(C, H, W), sizes ≥ 1 and context ≥ 0",
        )  # fmt: skip
    return image[0], image[1], image[2]


def _widths(image: Sequence[int], width: int) -> list[int]:
    return [width * min(2**k, 4) for k in range(halvings(image) + 1)]


def _small(image: Sequence[int], widths: list[int]) -> int:
    """Return the length of the flattened smallest features."""
    return widths[-1] * (image[1] >> halvings(image)) * (image[2] >> halvings(image))
