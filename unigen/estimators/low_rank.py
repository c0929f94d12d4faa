"""LowRankEstimator: what PCA, PPCA and factor analysis share: x ~ N(μ, WWᵀ + Ψ)."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.estimators.latent import LatentTransformer


class LowRankEstimator(LatentTransformer):
    """Base of the linear-Gaussian estimators.

    Attributes:
        components_: (q, D).
        mean_: (D,).
        noise_variance_: σ², or (D,) of them.
        n_components_: q.
    """

    components_: np.ndarray
    mean_: np.ndarray
    noise_variance_: Any
    n_components_: int
    n_components: Any

    def _factor(self) -> np.ndarray:
        """Return Wᵀ, shape (q, D)."""
        raise NotImplementedError

    def get_covariance(self) -> np.ndarray:
        """Return WWᵀ + Ψ, shape (D, D)."""
        factor = self._factor()
        return factor.T @ factor + np.diag(np.broadcast_to(self.noise_variance_, factor.shape[1]))

    def get_precision(self) -> np.ndarray:
        """Return (WWᵀ + Ψ)⁻¹, shape (D, D); by Woodbury's identity, at the cost of a q × q inverse.

        Raises:
            numpy.linalg.LinAlgError: The covariance is singular.
        """
        factor = self._factor()
        noise = np.broadcast_to(self.noise_variance_, factor.shape[1])
        if not (noise > 0).all():
            return np.linalg.inv(self.get_covariance())
        scaled = factor / noise
        inner = np.eye(factor.shape[0]) + scaled @ factor.T
        return np.diag(1 / noise) - scaled.T @ np.linalg.solve(inner, scaled)

    def _latents(self, largest: int) -> int:
        """Return q for ``n_components``: an integer in 1 … largest, or largest for None."""
        given = self.n_components
        if given is None and largest >= 1:
            return largest
        if isinstance(given, bool) or not isinstance(given, Integral) or not 1 <= int(given) <= largest:
            raise ArgumentError(
                program=type(self).__name__,
                site="n_components",
                got=given,
                expected=f"an integer from 1 to {largest} for these data",
            )
        return int(given)


@torch.no_grad()
def rotate_to_principal(weight: Tensor, noise: Tensor) -> None:
    """Rotate W (D, q) in place so that WᵀΨ⁻¹W is diagonal and falling; the density of x stays what it is.

    Each column has its entry of largest modulus positive.

    Args:
        weight: W, shape (D, q).
        noise: ψ, shape (D,).
    """
    w = weight.double()
    rotation = torch.linalg.svd(w / noise.double().sqrt()[:, None], full_matrices=False).Vh.mT
    w = w @ rotation
    largest = w.gather(0, w.abs().argmax(0, keepdim=True))
    weight.copy_(w * torch.where(largest < 0, -1.0, 1.0))
