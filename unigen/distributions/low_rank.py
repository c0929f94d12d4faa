"""N(μ, WWᵀ + Ψ) with a thin W and a diagonal Ψ, its log-density free of cancellation, and the posterior of z.

Notation: x = Wz + μ + ε, z ~ N(0, I_q), ε ~ N(0, Ψ), Ψ = diag ψ; M = I + WᵀΨ⁻¹W (q × q). Then

    log |WWᵀ + Ψ| = log |M| + Σ log ψ,
    (x−μ)ᵀ(WWᵀ + Ψ)⁻¹(x−μ) = ‖Ψ^{-1/2}(x − μ − Wm)‖² + ‖m‖²,      m = M⁻¹WᵀΨ⁻¹(x−μ) = E[z | x].

The usual Woodbury form subtracts two large numbers where ψ is small against WWᵀ; a sum of squares does not.
"""

from __future__ import annotations

import math

import torch
from pyro import distributions as dist
from torch import Tensor

from unigen.distributions.dense_normal import DenseNormal


def capacitance(weight: Tensor, noise: Tensor) -> Tensor:
    """Return the Cholesky factor of M = I + WᵀΨ⁻¹W, shape (..., q, q).

    Args:
        weight: W, shape (..., D, q).
        noise: ψ, shape (..., D).
    """
    whitened = weight / noise.sqrt()[..., None]
    q = weight.shape[-1]
    eye = torch.eye(q, dtype=weight.dtype, device=weight.device)
    return torch.linalg.cholesky(whitened.mT @ whitened + eye)


def posterior_mean(weight: Tensor, noise: Tensor, centred: Tensor, factor: Tensor) -> Tensor:
    """Return m = M⁻¹WᵀΨ⁻¹(x − μ), shape (..., q), for ``centred`` = x − μ (..., D) and M's Cholesky factor."""
    projected = (centred / noise)[..., None, :] @ weight
    return (projected @ torch.cholesky_inverse(factor))[..., 0, :]


def linear_gaussian_posterior(weight: Tensor, mean: Tensor, noise: Tensor, x: Tensor) -> DenseNormal:
    """Return p(z | x) = N(m, M⁻¹), batch shape (N,) for x of shape (N, D).

    Args:
        weight: W, shape (D, q).
        mean: μ, shape (D,).
        noise: ψ, shape (D,).
        x: Data, shape (N, D).
    """
    factor = capacitance(weight, noise)
    loc = posterior_mean(weight, noise, x - mean, factor)
    return DenseNormal(loc, scale_tril=torch.linalg.cholesky(torch.cholesky_inverse(factor)))


class LowRankNormal(dist.LowRankMultivariateNormal):
    """N(loc, WWᵀ + diag ψ) over vectors; arguments as in torch, the log-density by a sum of squares.

    Args:
        loc: μ, shape (..., D).
        cov_factor: W, shape (..., D, q).
        cov_diag: ψ > 0, shape (..., D).

    References:
        Woodbury 1950; Tipping & Bishop, Probabilistic principal component analysis, 1999.

    Example:
        >>> p = LowRankNormal(torch.zeros(3), torch.ones(3, 1), torch.ones(3))
        >>> round(p.log_prob(torch.zeros(3)).item(), 4)  # −½(3 log 2π + log 4)
        -3.45
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log N(value; μ, WWᵀ + Ψ) in nats, shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        weight, noise = self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag
        centred, factor = value - self.loc, capacitance(weight, noise)
        m = posterior_mean(weight, noise, centred, factor)
        residual = (centred - (m[..., None, :] @ weight.mT)[..., 0, :]) / noise.sqrt()
        square = residual.square().sum(-1) + m.square().sum(-1)
        log_det = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + noise.log().sum(-1)
        return -0.5 * (square + log_det + self.event_shape[0] * math.log(2 * math.pi))
