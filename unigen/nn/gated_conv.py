"""Gated masked convolutions: parameters of every conditional of an image, pixel after pixel in raster order.

    v ← gate(conv_above(v) + C c),    h ← h + mix(gate(conv_left(h) + link(conv_above(v)) + C c)),
    gate(a, b) = tanh(a) sigmoid(b)

Notation: images (C channels, H, W), F features, P parameters a feature. The vertical stack v at a pixel sees rows above
it, the horizontal stack h what is left of it in its row and, through v, everything above: together all earlier pixels
and no later one, without a blind spot, once the layers reach far enough (``reaches``). Channels of one pixel follow one
another: the parameters of channel k see channels 0 … k−1 of their own pixel through masked 1×1 convolutions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unigen.errors import ArgumentError


def gate(x: Tensor) -> Tensor:
    """Return tanh(a) sigmoid(b) of the two halves of the channels."""
    a, b = x.chunk(2, dim=1)
    return torch.tanh(a) * torch.sigmoid(b)


class GatedLayer(nn.Module):
    """One layer of both stacks.

    Args:
        features: F.
        reach: r; the layer sees r rows up and r columns to either side.
        context: Number of context features.
        dropout: Probability of dropping a feature of the horizontal branch.
    """

    def __init__(self, features: int, reach: int, context: int, dropout: float) -> None:
        super().__init__()
        self.reach = reach
        self.above = nn.Conv2d(features, 2 * features, (reach + 1, 2 * reach + 1))
        self.left = nn.Conv2d(features, 2 * features, (1, reach + 1))
        self.link = nn.Conv2d(2 * features, 2 * features, 1)
        self.mix = nn.Conv2d(features, features, 1)
        self.context = nn.Linear(context, 4 * features, bias=False) if context else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, v: Tensor, h: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the next (v, h), each (N, F, H, W)."""
        r = self.reach
        above = self.above(F.pad(v, (r, r, r, 0)))
        left = self.left(F.pad(h, (r, 0))) + self.link(above)
        if self.context is not None and context is not None:
            one, two = self.context(context)[:, :, None, None].chunk(2, dim=1)
            above, left = above + one, left + two
        return gate(above), h + self.mix(self.dropout(gate(left)))


class GatedPixelNet(nn.Module):
    """φ of every feature of an image as a function of the features before it and of the context.

    Args:
        shape: (C, H, W).
        parameters: P.
        inputs: Numbers that encode one feature (K for one-hot codes).
        context: Number of context features.
        width: F.
        layers: Number of layers.
        kernel: Odd size of the convolutions, at least 3.
        dropout: Probability of dropping features while training.

    Raises:
        ArgumentError: A size below one, or an even kernel.

    References:
        van den Oord et al., Conditional image generation with PixelCNN decoders, NeurIPS 2016.

    Example:
        >>> GatedPixelNet((1, 4, 4), 3, width=8, layers=2)(torch.zeros(5, 16, 1)).shape
        torch.Size([5, 16, 3])
    """

    centre: Tensor
    spread: Tensor
    earlier: Tensor
    classes: int | None = None

    def __init__(
        self,
        shape: tuple[int, int, int],
        parameters: int,
        *,
        inputs: int = 1,
        context: int = 0,
        width: int = 32,
        layers: int = 5,
        kernel: int = 5,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check(shape, parameters, width, layers, kernel, dropout)
        c, h, w = shape
        self.shape, self.parameters_per_feature, self.inputs_per_feature = shape, parameters, inputs
        self.order = tuple(k * h * w + pixel for pixel in range(h * w) for k in range(c))
        self.first = nn.Conv2d(c * inputs, 2 * width, 1)
        self.blocks = nn.ModuleList(GatedLayer(width, kernel // 2, context, dropout) for _ in range(layers))
        self.reach = layers * (kernel // 2)
        self.hidden = nn.Conv2d(width, c * width, 1)
        self.channels = nn.Conv2d(c * inputs, c * width, 1, bias=False) if c > 1 else None
        self.head = nn.Conv2d(c * width, c * parameters, 1, groups=c)
        of = torch.arange(c)
        earlier = of.repeat_interleave(width)[:, None] > of.repeat_interleave(inputs)
        self.register_buffer(
            "earlier", earlier[:, :, None, None].to(torch.get_default_dtype()), persistent=False
        )
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()  # pyright: ignore[reportOptionalMemberAccess]

    @property
    def reaches(self) -> bool:
        """Whether every pixel sees all pixels before it: layers · (kernel // 2) ≥ max(H, W) − 1."""
        return self.reach >= max(self.shape[1:]) - 1

    @torch.no_grad()
    def start_at(self, phi: Tensor, x: Tensor | None = None) -> None:
        """Let the outputs start near φ (P) or (C, P), and optionally standardise the inputs as x (M, inputs)."""
        self.head.get_parameter("bias").copy_(phi.expand(self.shape[0], -1).flatten())
        if x is not None:
            sd = x.std(0)
            self.centre.copy_(x.mean(0))
            self.spread.copy_(torch.where(sd > 0, sd, torch.ones_like(sd)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return φ (N, D, P) given codes x (N, D, inputs), D = C H W, and the context (N, ·)."""
        return self._rows((x - self.centre) / self.spread, context, self.shape[1]).flatten(1, 3)

    def _rows(self, x: Tensor, context: Tensor | None, rows: int) -> Tensor:
        """Return φ (N, C, rows, W, P) of the first rows, from those rows alone."""
        image = x.unflatten(1, self.shape)[:, :, :rows].permute(0, 1, 4, 2, 3).flatten(1, 2)
        v, h = self.first(image).chunk(2, dim=1)
        v = F.pad(v, (0, 0, 1, -1))  # one row down: nothing of the own row
        h = F.pad(h, (1, -1))  # one column right: nothing of the own pixel
        for block in self.blocks:
            v, h = block(v, h, context)
        hidden = self.hidden(F.relu(h))
        if self.channels is not None:
            hidden = hidden + F.conv2d(image, self.channels.weight * self.earlier)
        phi = self.head(F.relu(hidden))
        return phi.unflatten(1, (self.shape[0], self.parameters_per_feature)).permute(0, 1, 3, 4, 2)

    def steps(self, context: Tensor | None = None, *, cache: bool = True) -> PixelSteps:
        """Return the conditionals one feature at a time; nothing is cached, whatever ``cache``."""
        return PixelSteps(self, context)


class PixelSteps:
    """φ of one feature after another: each takes a pass over the rows down to its own, half an image on average.

    Args:
        net: The network.
        context: Context (N, ·), or None.
    """

    def __init__(self, net: GatedPixelNet, context: Tensor | None) -> None:
        self.net, self.context = net, context

    def __call__(self, x: Tensor, t: int) -> Tensor:
        """Return φ (N, P) of the t-th feature in order, given codes (N, D, inputs) of which the first t are read."""
        net = self.net
        c, _, w = net.shape
        pixel, channel = divmod(t, c)
        row, column = divmod(pixel, w)
        # as many columns of zeros stand for what is not drawn yet: no output used here depends on them
        phi = net._rows((x - net.centre) / net.spread, self.context, row + 1)
        return phi[:, channel, row, column]

    def select(self, rows: Tensor) -> None:
        """Keep the given rows of the batch, in the given order."""
        self.context = None if self.context is None else self.context[rows]


def _check(
    shape: tuple[int, int, int], parameters: int, width: int, layers: int, kernel: int, dropout: float
) -> None:
    if len(shape) != 3 or min(*shape, parameters, width, layers) < 1 or not 0 <= dropout < 1:
        raise ArgumentError(
            site="shape, parameters, width, layers, dropout",
            got=(tuple(shape), parameters, width, layers, dropout),
            expected="(C, H, W), sizes ≥ 1 and 0 ≤ dropout < 1",
        )
    if kernel < 3 or kernel % 2 == 0:
        raise ArgumentError(site="kernel", got=kernel, expected="an odd size ≥ 3")
