"""A small convolutional network that hands the channels of an image the parameters of their one-dimensional maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unigen.distributions.conditioners import check_sizes, check_width


class ConvolutionalConditioner(nn.Module):
    """Parameters of D channels, at every pixel, as a function of other channels and of the context.

    3×3, then 1×1, then 3×3 convolutions (one of 3×3 at each end), ReLU between them; the context is added to the
    first layer's output at every pixel.

    Args:
        inputs: Number of channels that are seen.
        features: D, number of channels whose parameters are returned.
        parameters: P, parameters a pixel and channel.
        context: C.
        hidden: Channels of the hidden layers.
        gain: Factor on the initial weights of the last layer.
        limit: The network sees x clipped to ±limit; None leaves x as it is.

    References:
        Kingma & Dhariwal, Glow: generative flow with invertible 1×1 convolutions, NeurIPS 2018.
    """

    def __init__(
        self,
        inputs: int,
        features: int,
        parameters: int,
        *,
        context: int = 0,
        hidden: Sequence[int] = (64, 64),
        gain: float = 1.0,
        limit: float | None = None,
    ) -> None:
        super().__init__()
        check_sizes(features, parameters, hidden, inputs, context)
        self.features, self.parameters_per_feature, self.context, self.limit = (
            features,
            parameters,
            context,
            limit,
        )
        widths = [inputs, *hidden, features * parameters]
        last = len(widths) - 2
        sizes = [3 if k in (0, last) else 1 for k in range(last + 1)]
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, size, padding=size // 2)
            for a, b, size in zip(widths[:-1], widths[1:], sizes, strict=True)
        )
        self.shift = nn.Linear(context, widths[1], bias=False) if context else None
        with torch.no_grad():
            for parameter in self.layers[-1].parameters():
                parameter.mul_(gain)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters (..., D, H, W, P), given x (..., inputs, H, W) and the context (..., C)."""
        check_width(context, self.context)
        x = x if self.limit is None else x.clamp(-self.limit, self.limit)
        batch = x.shape[:-3]
        if context is not None:
            batch = torch.broadcast_shapes(batch, context.shape[:-1])
            x = x.expand(*batch, *x.shape[-3:])
        h = self.layers[0](x.reshape(-1, *x.shape[-3:]))
        if context is not None and self.shift is not None:
            h = (
                h
                + self.shift(context.expand(*batch, self.context).reshape(-1, self.context))[:, :, None, None]
            )
        for layer in self.layers[1:]:
            h = layer(h.relu())
        h = h.unflatten(1, (self.features, self.parameters_per_feature)).movedim(2, -1)
        return h.reshape(*batch, *h.shape[1:])
