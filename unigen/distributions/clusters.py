"""Clusters: k-means with k-means++ seeding, and the regularised moments of soft clusters.

Notation: x (N, D) data, r (N, K) responsibilities with rows that sum to one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unigen.errors import ArgumentError

COVARIANCES = ("full", "tied", "diagonal")


def check_options(k: int, covariance: str, shrinkage: float, floor: float, program: str) -> None:
    """Refuse a number of clusters or a regularisation out of range; ``moments`` says what they are.

    Raises:
        ArgumentError: k < 1, another word for the covariance, or a negative floor or shrinkage.
    """
    if k < 1 or covariance not in COVARIANCES:
        got, expected = f"{k} components, {covariance!r}", f"at least 1, and one of {COVARIANCES}"
        raise ArgumentError(program=program, got=got, expected=expected)
    if not 0 <= floor < 1 or not shrinkage >= 0:
        got, expected = f"floor={floor}, shrinkage={shrinkage}", "0 ≤ floor < 1 and shrinkage ≥ 0"
        raise ArgumentError(program=program, got=got, expected=expected)


def seed_centres(x: Tensor, k: int) -> Tensor:
    """Return k rows of x: each the best of 2 + log₂ k candidates drawn with probability ∝ squared distance.

    Args:
        x: Data, shape (N, D).
        k: Number of centres.

    Returns:
        Centres, shape (k, D).

    References:
        Arthur & Vassilvitskii, k-means++, 2007.
    """
    centres = x[torch.randint(x.shape[0], (1,), device=x.device)]
    nearest = (x - centres).square().sum(1)
    while centres.shape[0] < k:
        p = nearest + 1e-12 * nearest.mean() + torch.finfo(x.dtype).tiny
        candidates = x[torch.multinomial(p, 2 + k.bit_length(), replacement=True)]
        distances = torch.minimum(nearest, torch.cdist(candidates, x).square())
        best = distances.sum(1).argmin()
        centres, nearest = torch.cat([centres, candidates[best, None]]), distances[best]
    return centres


def k_means(x: Tensor, k: int, iterations: int = 20) -> Tensor:
    """Return the cluster of each row after some iterations of k-means (Lloyd 1982).

    Args:
        x: Data, shape (N, D).
        k: Number of clusters; an empty one keeps its centre.
        iterations: Number of reassignments.

    Returns:
        Indices in 0 … k − 1, shape (N,).

    Example:
        >>> k_means(torch.tensor([[0.0], [0.1], [9.0], [9.1]]), 2).bincount()
        tensor([2, 2])
    """
    centres = seed_centres(x, k)
    for _ in range(iterations):
        member = torch.nn.functional.one_hot(torch.cdist(x, centres).argmin(1), k).to(x.dtype)
        counts = member.sum(0)[:, None]
        centres = torch.where(counts > 0, member.mT @ x / counts.clamp_min(1), centres)
    return torch.cdist(x, centres).argmin(1)


def soft_clusters(member: Tensor, k: int, share: float) -> Tensor:
    """Return responsibilities (N, k) of clusters, float64, a share of every example spread over all clusters.

    Args:
        member: Cluster of each example, shape (N,).
        k: Number of clusters.
        share: In [0, 1]; positive, it leaves no cluster without examples.
    """
    return (1 - share) * torch.nn.functional.one_hot(member, k).double() + share / k


def moments(
    x: Tensor, r: Tensor, covariance: str, shrinkage: float, floor: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights (K,), means (K, D) and covariances of soft clusters.

    Σ_k = (Σ_i r_ik (x_i − μ_k)(x_i − μ_k)ᵀ + νD Σ̄) / (n_k + νD) + floor · v I,    n_k = Σ_i r_ik,

    with Σ̄ the pooled covariance within clusters and v the mean variance of the data; ν is 0 unless "full".

    Args:
        x: Data, shape (N, D).
        r: Responsibilities, shape (N, K); times w_i where example i counts w_i times.
        covariance: "full": (K, D, D) matrices; "tied": (1, D, D), the pooled one; "diagonal": (K, D) variances.
        shrinkage: ν.
        floor: Fraction of v added to the diagonal.

    References:
        Fraley & Raftery, Bayesian regularization for normal mixture estimation, 2007.
    """
    d, w = x.shape[1], r.sum(1)
    n = w.sum()
    counts = r.sum(0) + 10 * torch.finfo(x.dtype).eps
    means = r.mT @ x / counts[:, None]
    ridge = floor * (w @ (x - w @ x / n).square() / n).mean()
    centred = [x - mean for mean in means]
    if covariance == "diagonal":
        spread = torch.stack([r[:, k] @ c.square() for k, c in enumerate(centred)]) / counts[:, None]
        return counts / n, means, spread + ridge
    second = torch.stack([c.mT @ (r[:, k, None] * c) for k, c in enumerate(centred)])
    pooled = second.sum(0, keepdim=True) / n
    weight, size = shrinkage * d, counts[:, None, None]
    spread = pooled if covariance == "tied" else (second + weight * pooled) / (size + weight)
    return counts / n, means, spread + ridge * torch.eye(d, dtype=x.dtype, device=x.device)


def factorise(spread: Tensor) -> tuple[Tensor, Tensor]:
    """Return (log scales (K, D), strictly lower triangle (K, D, D)) of L with LLᵀ = Σ.

    Args:
        spread: Covariance matrices (K, D, D), or variances (K, D), whose lower triangle is returned empty.

    Raises:
        ArgumentError: A covariance is singular.
    """
    if spread.dim() == 2:
        log_scales, singular, lower = 0.5 * spread.log(), (spread <= 0).any(1), spread.new_empty(0)
    else:
        factor, info = torch.linalg.cholesky_ex(spread)
        log_scales, singular, lower = factor.diagonal(dim1=-2, dim2=-1).log(), info > 0, factor.tril(-1)
    if bool(singular.any()):
        raise ArgumentError(
            "the covariance of a component is singular",
            site="floor",
            got=f"{int(singular.sum())} such components",
            hint="floor=1e-3, fewer components, or data without constant features",
        )
    return log_scales, lower
