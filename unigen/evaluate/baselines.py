"""Densities that any model should beat: a shrunk full-covariance Gaussian and Chow–Liu trees.

    p(x) = p(x_r) Π_{i ≠ r} p(x_i | x_{π(i)})

Notation: D features, π(i) the parent of i in a tree with root r. Among all trees the one of largest total mutual
information Σ_i I(x_i; x_{π(i)}) has the largest likelihood (Chow & Liu): a maximum spanning tree. Its densities are
exact, so a ``LogProb`` says how many nats a model gains over pairwise dependence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from unigen.checks import as_tensor, check_data
from unigen.errors import ArgumentError, ShapeError
from unigen.logprob import Kind, LogProb

F64 = torch.float64


def spanning_tree(weights: Tensor) -> Tensor:
    """Return the parents of a maximum spanning tree rooted at 0, by Prim's algorithm.

    Args:
        weights: Symmetric, shape (D, D).

    Returns:
        π, shape (D,); π(0) = −1.

    References:
        Prim, Shortest connection networks and some generalizations, 1957.

    Example:
        >>> spanning_tree(torch.tensor([[0.0, 1, 5], [1, 0, 3], [5, 3, 0]]))
        tensor([-1,  2,  0])
    """
    d = weights.shape[0]
    parent = torch.full((d,), -1)
    best, outside = weights[0].clone(), torch.ones(d, dtype=torch.bool)
    outside[0] = False
    parent[1:] = 0
    for _ in range(d - 1):
        new = int(torch.where(outside, best, -math.inf).argmax())
        outside[new] = False
        closer = outside & (weights[new] > best)
        best = torch.where(closer, weights[new], best)
        parent[closer] = new
    return parent


def _rows(x: Any, support: constraints.Constraint, program: str) -> Tensor:
    """Return data (N, D), N ≥ 2, in float64.

    Raises:
        ShapeError, ArgumentError, and those of ``check_data``: The data cannot be fitted.
    """
    x = as_tensor(x, program)
    if x.dim() != 2 or x.shape[1] < 1:
        raise ShapeError(program=program, site="x", got=tuple(x.shape), expected="(N, D)")
    rows = check_data(x, x.shape[1:], support, F64, program)
    if rows.shape[0] < 2:
        raise ArgumentError(program=program, site="x", got="one example", expected="at least two")
    return rows.cpu()


@dataclass(frozen=True, eq=False)
class ChowLiuTree:
    """The tree-structured distribution over K classes a feature that is nearest to the data.

    Args:
        parent: π, shape (D,), −1 at the root.
        log_conditional: log p(x_i = b | x_π(i) = a), shape (D, K, K) indexed [i, a, b]; at the root the same for all a.
        information: Σ I(x_i; x_π(i)) in nats.
    """

    parent: Tensor
    log_conditional: Tensor
    information: float

    def log_prob(self, x: Any) -> LogProb:
        """Return log p(x) in nats, exact, of x (N, D) in 0 … K−1."""
        d, k, _ = self.log_conditional.shape
        rows = check_data(
            x, torch.Size((d,)), constraints.integer_interval(0, k - 1), F64, "Chow–Liu tree"
        ).long()
        above = rows[:, self.parent.clamp_min(0)]
        value = self.log_conditional[torch.arange(d), above, rows].sum(1)
        return LogProb(value, Kind.EXACT, dims=d)


def chow_liu(x: Any, classes: int | None = None, pseudocount: float = 1.0) -> ChowLiuTree:
    """Fit a Chow–Liu tree to discrete data.

    p_ij(a, b) = (n_ij(a, b) + α/K²) / (N + α), whose marginals are (n_i(a) + α/K) / (N + α) whichever the partner.

    Args:
        x: Integers 0 … K−1, shape (N, D).
        classes: K; the largest value plus one if omitted.
        pseudocount: α > 0, examples' worth of the uniform distribution that are added.

    Returns:
        The tree.

    Raises:
        ArgumentError: α ≤ 0, K < 2, or fewer than two examples.
        SupportError, DTypeError, ShapeError: No integers 0 … K−1 of shape (N, D).

    References:
        Chow & Liu, Approximating discrete probability distributions with dependence trees, 1968.

    Example:
        >>> x = torch.tensor([[0, 0], [1, 1]] * 50)
        >>> print(f"{chow_liu(x).log_prob(x).mean().value:.2f}")  # near −log 2
        -0.70
    """
    if not pseudocount > 0:
        raise ArgumentError(program="Chow–Liu tree", site="pseudocount", got=pseudocount, expected="> 0")
    rows = _rows(x, constraints.nonnegative_integer, "Chow–Liu tree")
    k = max(2, int(rows.max()) + 1) if classes is None else classes
    if k < 2 or int(rows.max()) >= k:
        raise ArgumentError(
            program="Chow–Liu tree", site="classes", got=k, expected=f"at least {max(2, int(rows.max()) + 1)}"
        )
    n, d = rows.shape
    codes = (rows[..., None] == torch.arange(k)).flatten(1).float()  # counts below 2²⁴ are exact in float32
    counts = (codes.T @ codes).double().reshape(d, k, d, k).transpose(1, 2)
    joint = (counts + pseudocount / k**2) / (n + pseudocount)
    single = (counts.diagonal().sum(0).T + pseudocount / k) / (n + pseudocount)
    product = single[:, None, :, None] * single[None, :, None, :]
    information = (joint * (joint.log() - product.log())).sum((2, 3))
    parent = spanning_tree(information)
    child = torch.arange(1, d)
    conditional = single.log()[:, None, :].repeat(1, k, 1)
    pairs = joint[parent[1:], child]
    conditional[1:] = pairs.log() - pairs.sum(-1, keepdim=True).log()
    return ChowLiuTree(parent, conditional, float(information[child, parent[1:]].sum()))


@dataclass(frozen=True, eq=False)
class GaussianBaseline:
    """A Gaussian with a dense covariance, or one whose dependences form a tree.

    Args:
        mean: m, shape (D,).
        scale_tril: Cholesky factor of the covariance, shape (D, D).
        parent: The tree, shape (D,), −1 at the root; None where the covariance is dense.
    """

    mean: Tensor
    scale_tril: Tensor
    parent: Tensor | None = None

    def log_prob(self, x: Any) -> LogProb:
        """Return log N(x; m, Σ) in nats, exact, of x (N, D)."""
        d = self.mean.shape[0]
        rows = check_data(x, torch.Size((d,)), constraints.real, F64, "Gaussian baseline")
        normal = torch.distributions.MultivariateNormal(
            self.mean, scale_tril=self.scale_tril, validate_args=False
        )
        return LogProb(normal.log_prob(rows), Kind.EXACT, dims=d)


def _ledoit_wolf(x: Any, program: str) -> tuple[Tensor, Tensor]:
    from sklearn.covariance import LedoitWolf

    rows = _rows(x, constraints.real, program)
    found = LedoitWolf().fit(rows.numpy())
    covariance = torch.as_tensor(found.covariance_)
    if not bool((covariance.diagonal() > 0).all()):
        raise ArgumentError(
            "all columns are constant", program=program, hint="there is no density to estimate"
        )
    return rows.mean(0), covariance


def shrunk_gaussian(x: Any) -> GaussianBaseline:
    """Fit a Gaussian with the full covariance, shrunk to a multiple of the identity as Ledoit and Wolf do.

    Args:
        x: Real data, shape (N, D).

    Returns:
        The Gaussian.

    Raises:
        ArgumentError: Fewer than two examples, or nothing varies.
        ShapeError, DTypeError, NonFiniteError: The data are no real (N, D).

    References:
        Ledoit & Wolf, A well-conditioned estimator for large-dimensional covariance matrices, 2004.

    Example:
        >>> shrunk_gaussian(torch.randn(100, 3)).log_prob(torch.zeros(2, 3)).kind
        <Kind.EXACT: 'exact'>
    """
    mean, covariance = _ledoit_wolf(x, "shrunk Gaussian")
    return GaussianBaseline(mean, torch.linalg.cholesky(covariance))


def gaussian_tree(x: Any) -> GaussianBaseline:
    """Fit the Gaussian whose dependences form the best tree, by mutual information −½ log(1 − ρ²).

    Variances and correlations are those of the shrunk covariance, so that constant or equal columns do no harm.

    Args:
        x: Real data, shape (N, D).

    Returns:
        The Gaussian: x_i = m_i + b_i (x_π(i) − m_π(i)) + σ_i ε_i along the tree.

    Raises:
        ArgumentError, ShapeError, DTypeError, NonFiniteError: As ``shrunk_gaussian``.

    References:
        Chow & Liu 1968; Lauritzen, Graphical models, 1996, § 5.2 (the Gaussian case).
    """
    mean, covariance = _ledoit_wolf(x, "Gaussian tree")
    scale = covariance.diagonal().sqrt()
    correlation = (covariance / (scale[:, None] * scale)).clamp(-1 + 1e-12, 1 - 1e-12)
    parent = spanning_tree(-0.5 * torch.log1p(-correlation.square()))
    d = mean.shape[0]
    child, above = torch.arange(1, d), parent[1:]
    lower = torch.eye(d, dtype=F64)  # ε = (x − B x) / σ, precision (I − B)ᵀ diag(σ⁻²) (I − B)
    lower[child, above] = -covariance[child, above] / covariance[above, above]
    sigma = scale.clone()
    sigma[1:] = scale[1:] * (1 - correlation[child, above].square()).sqrt()
    inverse = torch.linalg.inv(lower) * sigma
    return GaussianBaseline(mean, torch.linalg.cholesky(inverse @ inverse.T), parent)
