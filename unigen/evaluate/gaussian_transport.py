"""Entropic optimal transport and the Schrödinger bridge between two Gaussians, in closed form.

    min_π  E_π ½‖x − y‖² + eps KL(π | N(m_0, A) ⊗ N(m_1, B))  is Gaussian, with cross-covariance
    C = ½ A^{½} (4 A^{½} B A^{½} + eps² I)^{½} A^{−½} − ½ eps I

and the Schrödinger bridge with Brownian reference, sigma² = eps, has at time t the moments

    m_t = (1 − t) m_0 + t m_1,    Σ_t = (1 − t)² A + t² B + t (1 − t) (C + Cᵀ + eps I).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.errors import ArgumentError, ShapeError
from unigen.evaluate.entropic_transport import check_regularisation

NAME = "gaussian_transport"


@dataclass(frozen=True)
class GaussianPlan:
    """The Gaussian coupling of two Gaussians.

    Args:
        mean_0: m_0, (D,).
        mean_1: m_1, (D,).
        cov_0: A, (D, D).
        cov_1: B, (D, D).
        cross: C = Cov(x, y), (D, D).
        eps: Regularisation.
    """

    mean_0: Tensor
    mean_1: Tensor
    cov_0: Tensor
    cov_1: Tensor
    cross: Tensor
    eps: float

    @property
    def covariance(self) -> Tensor:
        """Covariance of (x, y), (2D, 2D)."""
        return torch.cat([torch.cat([self.cov_0, self.cross], 1), torch.cat([self.cross.mT, self.cov_1], 1)])

    @property
    def cost(self) -> float:
        """E ½‖x − y‖²."""
        spread = torch.trace(self.cov_0 + self.cov_1 - 2 * self.cross)
        return 0.5 * ((self.mean_0 - self.mean_1).square().sum() + spread).item()

    @property
    def divergence(self) -> float:
        """KL(π | a ⊗ b) in nats, the mutual information of the two ends."""
        logdets = [torch.logdet(c) for c in (self.cov_0, self.cov_1, self.covariance)]
        return 0.5 * (logdets[0] + logdets[1] - logdets[2]).item()

    @property
    def value(self) -> float:
        """What is minimised, cost + eps divergence."""
        return self.cost + self.eps * self.divergence

    def moments(self, t: float) -> tuple[Tensor, Tensor]:
        """Return mean (D,) and covariance (D, D) of the Schrödinger bridge at t.

        Raises:
            ArgumentError: t lies outside [0, 1].
        """
        if not 0.0 <= t <= 1.0:
            raise ArgumentError(program=NAME, site="t", got=t, expected="a time in [0, 1]")
        eye = torch.eye(self.mean_0.shape[0], dtype=self.cross.dtype)
        mixed = self.cross + self.cross.mT + self.eps * eye
        cov = (1 - t) ** 2 * self.cov_0 + t**2 * self.cov_1 + t * (1 - t) * mixed
        return (1 - t) * self.mean_0 + t * self.mean_1, cov


def _gaussian(mean: object, cov: object, which: str) -> tuple[Tensor, Tensor]:
    m, c = torch.as_tensor(mean, dtype=torch.float64), torch.as_tensor(cov, dtype=torch.float64)
    if m.dim() != 1 or c.shape != (m.shape[0], m.shape[0]):
        got = f"mean {tuple(m.shape)}, covariance {tuple(c.shape)}"
        raise ShapeError(program=NAME, site=which, got=got, expected="(D,) and (D, D)")
    if not (torch.allclose(c, c.mT) and bool((torch.linalg.eigvalsh(c) > 0).all())):
        expected = "a symmetric positive definite covariance"
        raise ArgumentError(program=NAME, site=which, got=c.tolist(), expected=expected)
    return m, c


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values**exponent) @ vectors.mT


def gaussian_transport(
    mean_0: object, cov_0: object, mean_1: object, cov_1: object, eps: float
) -> GaussianPlan:
    """Return the entropic coupling of N(m_0, A) and N(m_1, B).

    C = ½ A^{½} (4 A^{½} B A^{½} + eps² I)^{½} A^{−½} − ½ eps I

    Args:
        mean_0: m_0, (D,).
        cov_0: A, (D, D), positive definite.
        mean_1: m_1, (D,).
        cov_1: B, (D, D), positive definite.
        eps: Regularisation, in units of ½‖x − y‖²; sigma² of the Brownian reference.

    Returns:
        The plan, in float64.

    Raises:
        ArgumentError: eps is not positive, or a covariance is not positive definite.
        ShapeError: A mean or covariance has the wrong shape, or the two have different dimensions.

    References:
        Janati, Muzellec, Peyré & Cuturi, Entropic optimal transport between unbalanced Gaussian measures has a
        closed form, 2020; Mallasto, Gerolin & Minh, Entropy-regularized 2-Wasserstein distance between Gaussian
        measures, 2022; Bunne, Hsieh, Cuturi & Krause, The Schrödinger bridge between Gaussian measures has a closed
        form, 2023.

    Example:
        >>> plan = gaussian_transport([0.0], [[1.0]], [0.0], [[1.0]], eps=1.0)
        >>> round(plan.cross.item(), 6)
        0.618034
    """
    eps = check_regularisation(eps, NAME)
    (m_0, a), (m_1, b) = _gaussian(mean_0, cov_0, "cov_0"), _gaussian(mean_1, cov_1, "cov_1")
    if m_0.shape != m_1.shape:
        raise ShapeError(program=NAME, site="mean_1", got=tuple(m_1.shape), expected=tuple(m_0.shape))
    eye = torch.eye(m_0.shape[0], dtype=torch.float64)
    root = _power(a, 0.5)
    inner = _power(4 * root @ b @ root + eps**2 * eye, 0.5)
    cross = 0.5 * root @ inner @ _power(a, -0.5) - 0.5 * eps * eye
    return GaussianPlan(m_0, m_1, a, b, cross, eps)
