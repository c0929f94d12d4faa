"""Distances between two samples: MMD, energy distance, sliced Wasserstein-2, each with a permutation p-value."""

from __future__ import annotations

import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.evaluate.permutation import TwoSample, median_distance, memberships, permutation_p_value, pool


def _quadratic_test(name: str, kernel: Tensor, n: int, permutations: int, seed: int) -> TwoSample:
    """Test with E k(x, x') + E k(y, y') − 2 E k(x, y), without bias, from the pooled kernel matrix."""
    kernel.fill_diagonal_(0.0)
    m = kernel.shape[0] - n
    z = memberships(n, n + m, permutations, seed)
    to_x, rows = kernel @ z, kernel.sum(1, keepdim=True)
    within_x = (z * to_x).sum(0)
    cross = ((1 - z) * to_x).sum(0)
    within_y = ((1 - z) * (rows - to_x)).sum(0)
    statistics = within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * cross / (n * m)
    u = to_x[:n, 0] / (n - 1) - (rows[:n, 0] - to_x[:n, 0]) / m
    v = (rows[n:, 0] - to_x[n:, 0]) / (m - 1) - to_x[n:, 0] / n
    stderr = 2 * (u.var() / n + v.var() / m).sqrt()
    return TwoSample(
        name, float(statistics[0]), float(stderr), permutation_p_value(statistics), permutations, (n, m)
    )


def mmd(
    x: Tensor, y: Tensor, bandwidth: float | None = None, permutations: int = 200, seed: int = 0
) -> TwoSample:
    """Squared maximum mean discrepancy with a Gaussian kernel, unbiased.

    MMD² = E k(x, x') + E k(y, y') − 2 E k(x, y),  k(a, b) = exp(−|a − b|² / 2h²).

    Args:
        x: Shape (n, *event).
        y: Shape (m, *event).
        bandwidth: h; the median distance of the pooled points when None.
        permutations: How many make the p-value; 0 for none.
        seed: Of the permutations.

    Returns:
        MMD², which may be negative, with its first-order standard error (meaningful where P ≠ Q). Memory is
        O((n + m)²).

    Raises:
        ArgumentError: If the bandwidth is not positive.

    References:
        Gretton et al., A kernel two-sample test, 2012.

    Example:
        >>> x, y = torch.linspace(-1, 1, 50)[:, None], torch.linspace(1, 3, 50)[:, None]
        >>> mmd(x, y).p_value < 0.01
        True
    """
    pooled = pool(x, y)
    h = median_distance(pooled) if bandwidth is None else bandwidth
    if not h > 0:
        raise ArgumentError(site="bandwidth", got=bandwidth, expected="a positive number")
    distance = torch.cdist(pooled, pooled, compute_mode="donot_use_mm_for_euclid_dist")
    return _quadratic_test(
        "MMD²", distance.div_(h).square_().mul_(-0.5).exp_(), x.shape[0], permutations, seed
    )


def energy_distance(x: Tensor, y: Tensor, permutations: int = 200, seed: int = 0) -> TwoSample:
    """Energy distance, unbiased.

    2 E|x − y| − E|x − x'| − E|y − y'|; zero if and only if P = Q.

    Args:
        x: Shape (n, *event).
        y: Shape (m, *event).
        permutations: How many make the p-value; 0 for none.
        seed: Of the permutations.

    Returns:
        The distance, which may be negative, with its first-order standard error. Memory is O((n + m)²).

    References:
        Székely & Rizzo, Energy statistics, 2013.

    Example:
        >>> float(energy_distance(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0]), permutations=0))
        2.0
    """
    pooled = pool(x, y)
    distance = torch.cdist(pooled, pooled, compute_mode="donot_use_mm_for_euclid_dist")
    return _quadratic_test("energy distance", distance.neg_(), x.shape[0], permutations, seed)


def _quantile_cost(first: Tensor, second: Tensor) -> Tensor:
    """∫ (F⁻¹ − G⁻¹)² for sorted rows (L, n) and (L, m), exact also where n ≠ m; shape (L,)."""
    n, m = first.shape[-1], second.shape[-1]
    if n == m:
        return (first - second).square().mean(-1)
    cuts = torch.cat([m * torch.arange(1, n + 1), n * torch.arange(1, m)]).unique()  # in units of 1 / (n m)
    width = torch.diff(cuts, prepend=cuts.new_zeros(1)).double() / (n * m)
    gap = first[:, (cuts - 1) // m] - second[:, (cuts - 1) // n]
    return gap.square() @ width


def sliced_wasserstein(
    x: Tensor, y: Tensor, projections: int = 128, permutations: int = 0, seed: int = 0
) -> TwoSample:
    """Sliced Wasserstein-2 distance.

    SW₂ = (E_θ W₂²(θ·x, θ·y))^½,  θ uniform on the sphere,  W₂²(a, b) = ∫₀¹ (F_a⁻¹ − F_b⁻¹)² dq.

    Args:
        x: Shape (n, *event).
        y: Shape (m, *event); n ≠ m is exact too.
        projections: Number of directions; one suffices when D = 1.
        permutations: How many make the p-value; 0 for none.
        seed: Of directions and permutations.

    Returns:
        SW₂ ≥ 0, positive in finite samples even where P = Q; the standard error is over directions, for these
        samples.

    References:
        Bonneel et al., Sliced and Radon Wasserstein barycenters, 2015.

    Example:
        >>> x = torch.randn(100, 1)
        >>> round(float(sliced_wasserstein(x, x + 2.0)), 5)
        2.0
    """
    pooled = pool(x, y)
    if projections < 1:
        raise ArgumentError(site="projections", got=projections, expected="1 or more")
    n, dims = x.shape[0], pooled.shape[1]
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(projections if dims > 1 else 1, dims, dtype=torch.float64, generator=generator)
    values, order = (theta / theta.norm(dim=1, keepdim=True) @ pooled.T).sort(dim=1)
    z = memberships(n, pooled.shape[0], permutations, seed + 1).bool()
    costs = []
    for column in z.unbind(1):
        inside = column[order]
        rows = values.shape[0]
        costs.append(_quantile_cost(values[inside].reshape(rows, n), values[~inside].reshape(rows, -1)))
    squared = torch.stack([cost.mean() for cost in costs])
    value = squared[0].sqrt()
    stderr = (
        float(costs[0].std() / costs[0].shape[0] ** 0.5 / (2 * value)) if dims > 1 and value > 0 else None
    )
    p_value = permutation_p_value(squared)
    return TwoSample("sliced W₂", float(value), stderr, p_value, permutations, (n, y.shape[0]))
