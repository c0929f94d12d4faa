"""Permutation tests: samples pooled, relabelled at random, and ranked.

Notation: x_1 … x_n ~ P and y_1 … y_m ~ Q, pooled into N = n + m points. Under P = Q the pooled points are exchangeable,
so p = (1 + #{permuted statistic ≥ observed}) / (1 + permutations) satisfies Pr(p ≤ α) ≤ α for every n, m and D.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.errors import ArgumentError, EmptyDataError, NonFiniteError, ShapeError


@dataclass(frozen=True)
class TwoSample:
    """A two-sample statistic and what it says.

    Args:
        name: Of the statistic.
        value: The statistic.
        stderr: Its standard error, or None.
        p_value: Permutation p-value of P = Q, or None where no permutations were asked for.
        permutations: How many made the p-value.
        sizes: n and m.
    """

    name: str
    value: float
    stderr: float | None
    p_value: float | None
    permutations: int
    sizes: tuple[int, int]

    def __float__(self) -> float:
        """Return the statistic."""
        return self.value

    def __str__(self) -> str:
        """Write statistic, standard error and p-value in one line."""
        error = "" if self.stderr is None else f" ± {self.stderr:.2g}"
        p = "" if self.p_value is None else f", p = {self.p_value:.3g} ({self.permutations} permutations)"
        return f"{self.name} = {self.value:.5g}{error}{p}, {self.sizes[0]} and {self.sizes[1]} draws"


def pool(x: Tensor, y: Tensor) -> Tensor:
    """Flatten, check and stack two samples.

    Args:
        x: Shape (n, *event), n ≥ 2.
        y: Shape (m, *event), m ≥ 2.

    Returns:
        Shape (n + m, D), float64.

    Raises:
        EmptyDataError: If a sample has fewer than two examples.
        ShapeError: If events differ.
        NonFiniteError: If a value is NaN or infinite.
    """
    for site, z in (("x", x), ("y", y)):
        if z.dim() == 0 or z.shape[0] < 2:
            raise EmptyDataError(site=site, got=f"shape {tuple(z.shape)}", expected="at least two examples")
        if not bool(torch.isfinite(z).all()):
            raise NonFiniteError(site=site, got="NaN or infinity", expected="numbers")
    if x.shape[1:] != y.shape[1:]:
        raise ShapeError(site="y", got=tuple(y.shape), expected=f"(m, *{tuple(x.shape[1:])})")
    return torch.cat([z.detach().to("cpu", torch.float64).reshape(z.shape[0], -1) for z in (x, y)])


def memberships(n: int, total: int, permutations: int, seed: int) -> Tensor:
    """Indicators of the first sample: the observed one, then random ones of the same size.

    Args:
        n: Size of the first sample.
        total: N.
        permutations: How many random ones.
        seed: Of the generator.

    Returns:
        Zeros and ones, shape (N, 1 + permutations), float64.
    """
    if permutations < 0:
        raise ArgumentError(site="permutations", got=permutations, expected="0 or more")
    generator = torch.Generator().manual_seed(seed)
    z = torch.zeros(total, 1 + permutations, dtype=torch.float64)
    z[:n, 0] = 1.0
    order = torch.rand(total, permutations, dtype=torch.float64, generator=generator).argsort(0)
    z[:, 1:] = (order < n).double()
    return z


def permutation_p_value(statistics: Tensor) -> float | None:
    """Rank the observed statistic, the first, among all: (1 + #{permuted ≥ observed}) / (1 + permutations).

    Args:
        statistics: Shape (1 + permutations,).

    Returns:
        The p-value, or None without permutations.
    """
    if statistics.shape[0] == 1:
        return None
    slack = 1e-12 * (1.0 + statistics[0].abs())  # rounding must not break ties
    return float((statistics >= statistics[0] - slack).double().mean())


def median_distance(pooled: Tensor) -> float:
    """Take the median distance between different points: the usual bandwidth.

    Args:
        pooled: Shape (N, D); at most 2,000 points, evenly spread, are used.

    Returns:
        The median, positive.

    Raises:
        ArgumentError: If more than half the distances vanish.
    """
    points = pooled[:: max(1, pooled.shape[0] // 2000)]
    median = float(torch.pdist(points).median())
    if median == 0.0:
        raise ArgumentError(
            got="a median distance of zero", expected="distinct points", hint="pass bandwidth="
        )
    return median
