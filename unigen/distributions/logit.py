"""The logit of the unit interval, with the margin that the literature puts on it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Transform, constraints


class LogitTransform(Transform):
    """z = logit(y), y = α + (1 − 2α) x, from (−α, 1 + α)/(1 − 2α) onto the reals, elementwise.

        log dz/dx = log(1 − 2α) − log y − log(1 − y)

    y is kept ε/2 off 0 and 1, ε the precision of the dtype, so that the ends of the interval have a finite image.

    Args:
        alpha: α in [0, 1/2).

    References:
        Dinh, Sohl-Dickstein & Bengio, Density estimation using Real NVP, ICLR 2017.

    Example:
        >>> LogitTransform()(torch.tensor([0.5, 0.75]))
        tensor([0.0000, 1.0986])
    """

    codomain = constraints.real
    bijective = True

    def __init__(self, alpha: float = 0.0) -> None:
        super().__init__()
        self.alpha = alpha
        edge = alpha / (1 - 2 * alpha)
        self.domain = constraints.interval(-edge, 1 + edge) if alpha else constraints.unit_interval

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and log dz/dx, shape of x."""
        eps = torch.finfo(x.dtype).eps / 2
        y = (self.alpha + (1 - 2 * self.alpha) * x).clamp(eps, 1 - eps)
        left, right = y.log(), (-y).log1p()
        return left - right, math.log1p(-2 * self.alpha) - left - right

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log dz/dx, shape of x."""
        return self.call_and_ladj(x)[1]

    def _inverse(self, y: Tensor) -> Tensor:
        return (F.sigmoid(y) - self.alpha) / (1 - 2 * self.alpha)
