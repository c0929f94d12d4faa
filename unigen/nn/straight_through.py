"""Rounding of points of a simplex to their nearest vertex, the gradient passed straight through."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError, ShapeError


class StraightThrough(nn.Module):
    """Blocks of K numbers rounded to one-hot: forward the vertex of the largest, backward the identity.

    In front of a decoder, p(x | round(z)), with z ~ Concrete: the program's evidence is then exactly that of the
    discrete program with class probabilities softmax(α), and a bound of it a bound of that one; but the gradient with
    respect to what made z is biased, and how much falls with the temperature is not known in general.

    Args:
        classes: K.

    Raises:
        ArgumentError: K < 2.

    References:
        Bengio, Léonard & Courville, Estimating or propagating gradients through stochastic neurons, 2013; Jang, Gu &
        Poole 2017, section 2.2.

    Example:
        >>> StraightThrough(2)(torch.tensor([[0.3, 0.7, 0.6, 0.4]]))
        tensor([[0., 1., 1., 0.]])
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        if isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
            raise ArgumentError(
                program="StraightThrough", site="classes", got=classes, expected="an integer ≥ 2"
            )
        self.classes = classes

    def forward(self, z: Tensor) -> Tensor:
        """Return the vertices, shape (..., G·K).

        Raises:
            ShapeError: The last dimension is no multiple of K.
        """
        if z.shape[-1] % self.classes:
            raise ShapeError(
                program="StraightThrough", site="z", got=tuple(z.shape), expected=f"(..., G·{self.classes})"
            )
        blocks = z.unflatten(-1, (-1, self.classes))
        vertex = torch.zeros_like(blocks).scatter(-1, blocks.argmax(-1, keepdim=True), 1.0)
        return (vertex.detach() + (blocks - blocks.detach())).flatten(-2)
