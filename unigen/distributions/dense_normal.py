"""N(μ, LLᵀ) with a log-density that can be traced over a symbolic batch and never copies a factor for each row.

Notation: L lower triangular with a positive diagonal; log N(x) = −½‖L⁻¹(x − μ)‖² − Σ log L_ii − ½ D log 2π.
"""

from __future__ import annotations

import math

import torch
from pyro import distributions as dist
from torch import Tensor


def whiten(inverse: Tensor, centred: Tensor) -> Tensor:
    """Return A y for matrices A (*B, D, D) and vectors y (*S, *B, D), as one product of matrices for each of B."""
    if inverse.dim() == 2:
        return centred @ inverse.mT
    batch = centred.shape[-inverse.dim() + 1 : -1]
    rows = centred.reshape(-1, *batch, centred.shape[-1]).movedim(0, -2)
    return (rows @ inverse.mT).movedim(-2, 0).reshape(centred.shape)


class DenseNormal(dist.MultivariateNormal):
    """N(μ, LLᵀ) over vectors; arguments as in torch.

    Args:
        loc: μ, shape (..., D).
        scale_tril: L, shape (..., D, D).

    Example:
        >>> DenseNormal(torch.zeros(5, 2), scale_tril=torch.eye(2)).log_prob(torch.zeros(3, 5, 2)).shape
        torch.Size([3, 5])
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log N(value; μ, LLᵀ) in nats, shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        factor = self._unbroadcasted_scale_tril
        # not solve_triangular: it fails to trace where the batch of factors is symbolic, one for each row
        square = whiten(torch.linalg.inv(factor), value - self.loc).square().sum(-1)
        log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return -0.5 * (square + self.event_shape[0] * math.log(2 * math.pi)) - log_det
