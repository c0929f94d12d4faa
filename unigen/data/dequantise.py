"""Uniform dequantisation: an integer image k becomes y = (k + u) / L in [0, 1), with the log-determinant kept.

The density p of y and the mass P of k are tied by P(k) = ∫ p((k + u) / L) L^{-D} du, u uniform on [0, 1)^D, so

    log P(k) ≥ E_u log p(y) − D log L,    bits/dim = −(log p(y) − D log L) / (D log 2).
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from unigen import units
from unigen.errors import ArgumentError, DTypeError, ShapeError, SupportError

Number = TypeVar("Number", float, Tensor)


class Dequantise(nn.Module):
    """Add uniform noise to integers and scale to the unit interval.

    y = (k + u) / L,  u ~ U[0, 1)^D;  k = ⌊L y⌋;  log |dy / d(k + u)| = −D log L.

    The noise is kept off 0 and 1 by a few rounding units of its dtype, so that k is recovered exactly.

    Args:
        levels: L, the number of grey levels; k runs from 0 to L − 1.

    References:
        Uria, Murray & Larochelle, RNADE, 2013; Theis, van den Oord & Bethge, A note on the evaluation of
        generative models, 2016.

    Example:
        >>> dequantise, k = Dequantise(levels=17), torch.tensor([[0.0, 16.0]])
        >>> y = dequantise(k)
        >>> bool((0 < y).all() and (y < 1).all()), dequantise.inverse(y)
        (True, tensor([[ 0., 16.]]))
    """

    def __init__(self, levels: int = 17) -> None:
        super().__init__()
        if levels < 2:
            raise ArgumentError(program="Dequantise", site="levels", got=levels, expected="at least 2")
        self.levels = levels

    def forward(
        self, k: Tensor, noise: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Dequantise.

        Args:
            k: Integer values 0 … L − 1 in any dtype, any shape.
            noise: u in [0, 1], same shape; drawn when None.
            generator: Where the noise is drawn from; the global one when None.

        Returns:
            y in (0, 1), of k's dtype if floating, else of the default dtype.

        Raises:
            ShapeError: If the noise has another shape.
        """
        if not k.is_floating_point():
            k = k.to(torch.get_default_dtype())
        if noise is None:
            noise = torch.rand(k.shape, dtype=k.dtype, device=k.device, generator=generator)
        if noise.shape != k.shape:
            raise ShapeError(
                program="Dequantise", site="noise", got=tuple(noise.shape), expected=tuple(k.shape)
            )
        margin = 2 * self.levels * torch.finfo(k.dtype).eps
        return (k + noise.to(k.dtype).clamp(margin, 1 - margin)) / self.levels

    def inverse(self, y: Tensor) -> Tensor:
        """Quantise: ⌊L y⌋, clamped to 0 … L − 1 so that a model's draws outside [0, 1) become images too.

        Args:
            y: Any shape, floating.

        Returns:
            Integer values in y's dtype.

        Raises:
            DTypeError: If y is not floating.
        """
        if not y.is_floating_point():
            raise DTypeError(program="Dequantise", site="y", got=y.dtype, expected="a floating dtype")
        return torch.floor(y * self.levels).clamp(0, self.levels - 1)

    def fresh(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Replace the noise in dequantised data by a fresh draw: forward(inverse(y)).

        Args:
            y: Dequantised data, any shape.
            generator: Where the noise is drawn from; the global one when None.

        Returns:
            The same images under new noise.
        """
        return self(self.inverse(y), generator=generator)

    def check(self, k: Tensor) -> Tensor:
        """Refuse values that are not integers in 0 … L − 1.

        Args:
            k: Values, any shape and dtype.

        Returns:
            k, unchanged.

        Raises:
            SupportError: If some value is not an admissible integer.
        """
        bad = (
            (k != torch.floor(k)) | (k < 0) | (k > self.levels - 1)
            if k.is_floating_point()
            else ((k < 0) | (k > self.levels - 1))
        )
        if bool(bad.any()):
            raise SupportError(
                program="Dequantise",
                site="k",
                got=f"{int(bad.sum())} inadmissible values, the first {k[bad].flatten()[0]}",
                expected=f"integers 0 … {self.levels - 1}",
            )
        return k

    def log_mass(self, log_p: Number, dims: int) -> Number:
        """Turn log p(y) into a lower bound of log P(k), in expectation over the noise.

        log P(k) ≥ E_u log p(y) − D log L.

        Args:
            log_p: log p(y) in nats, any shape.
            dims: D, number of dimensions of one example.

        Returns:
            log p(y) − D log L, in nats.
        """
        return units.log_mass(log_p, dims, self.levels)

    def bits_per_dim(self, log_p: Number, dims: int) -> Number:
        """Turn log p(y) into bits per dimension of the integer data: −(log p(y) − D log L) / (D log 2).

        Args:
            log_p: log p(y) in nats, any shape.
            dims: D, number of dimensions of one example.

        Returns:
            Bits per dimension; in expectation over the noise, an upper bound of −log₂ P(k) / D.
        """
        return units.bits_per_dim(log_p, dims, self.levels)

    def extra_repr(self) -> str:
        """Say the number of levels."""
        return f"levels={self.levels}"
