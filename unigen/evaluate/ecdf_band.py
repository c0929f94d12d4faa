"""Simultaneous bands for the ECDF of ranks that ought to be uniform, and the exact p-value of leaving them.

n ranks are independent and uniform on {0, …, S}. C_k counts those below a cut j_k: C_k ~ Bin(n, p_k), p_k = j_k/(S+1).
At pointwise level γ each C_k may take the values whose two tails exceed γ/2,

    A_k(γ) = {c : Pr(C_k ≤ c) > γ/2 and Pr(C_k ≥ c) > γ/2},

and the chance that all counts stay inside follows from a recursion over k, in which the increments of a multinomial are
those of Poisson variables conditioned on their total. No simulation, no asymptotics.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from unigen.errors import ArgumentError

CUTS = 100  # at most so many, spread evenly
TINY = 1e-11  # p-values below which rounding would rule the recursion
SLACK = 1e-9  # relative, so that rounding breaks no ties


def cuts(draws: int, most: int = CUTS) -> tuple[int, ...]:
    """Return the cuts j_1 < … < j_m between the S + 1 ranks, evenly spread.

    Args:
        draws: S ≥ 1.
        most: Largest number of intervals.

    Returns:
        Integers in 1 … S.

    Example:
        >>> cuts(4), cuts(99, most=4)
        ((1, 2, 3, 4), (25, 50, 75))
    """
    intervals = min(draws + 1, most)
    return tuple(sorted({round(k * (draws + 1) / intervals) for k in range(1, intervals)}))


def _allowed(n: int, p: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and the largest count of A(γ) at each p; empty (lower > upper) for a γ near 1."""
    from scipy.stats import binom

    q = 0.5 * gamma
    lower, upper = binom.ppf(q, n, p).astype(int) - 1, binom.isf(q, n, p).astype(int) + 1
    for _ in range(
        3
    ):  # at most: the tails are monotone, and ppf and isf are off by one where a tail equals q
        lower += binom.cdf(lower, n, p) <= q
        upper -= binom.sf(upper - 1, n, p) <= q
    return lower, upper


@functools.lru_cache(maxsize=4096)
def coverage(n: int, draws: int, gamma: float, most: int = CUTS) -> float:
    """Return Pr(C_k ∈ A_k(γ) for all k) of uniform ranks, exactly.

    Args:
        n: Number of ranks.
        draws: S.
        gamma: γ in (0, 1).
        most: Largest number of intervals.

    Returns:
        A probability.

    References:
        Säilynoja, Bürkner & Vehtari, Graphical test for discrete uniformity and its applications in goodness-of-fit
        evaluation and multiple sample comparison, 2022.

    Example:
        >>> round(coverage(1, 1, 0.99), 6)  # one rank, one cut: 0 or 1 below it, each tail ½ > γ/2
        1.0
    """
    from scipy.special import gammaln

    ends = (*cuts(draws, most), draws + 1)
    lower, upper = _allowed(n, np.array(ends[:-1]) / (draws + 1), gamma)
    if (lower > upper).any():
        return 0.0
    log_factorial = gammaln(np.arange(n + 1) + 1.0)
    mass, first = np.ones(1), 0  # of the counts first, first + 1, …
    for j, last, low, high in zip(ends, (0, *ends), [*lower, n], [*upper, n], strict=False):
        rate, width = n * (j - last) / (draws + 1), high - first + 1
        step = np.exp(np.arange(width) * np.log(rate) - rate - log_factorial[:width])  # Poisson
        cut = max(low - first, 0)
        mass, first = np.convolve(mass, step)[cut:width], first + cut
    return float(min(1.0, mass[0] / np.exp(n * np.log(n) - n - log_factorial[n])))


@functools.lru_cache(maxsize=256)
def pointwise(n: int, draws: int, level: float, most: int = CUTS) -> float:
    """Return the largest γ at which all counts stay inside with probability ``level`` or more.

    Args:
        n: Number of ranks.
        draws: S.
        level: Simultaneous level, in (0, 1).
        most: Largest number of intervals.

    Returns:
        γ, to a relative 1e-4.

    Raises:
        ArgumentError: n or draws below one, or a level outside (0, 1).
    """
    if n < 1 or draws < 1 or not 0.0 < level < 1.0:
        raise ArgumentError(
            got=f"n={n}, draws={draws}, level={level}", expected="n, draws ≥ 1, 0 < level < 1"
        )
    low, high = (1.0 - level) / (2.0 * len(cuts(draws, most))), 1.0  # Bonferroni's γ is wide enough
    while high / low > 1.0 + 1e-4:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if coverage(n, draws, middle, most) >= level else (low, middle)
    return low


def band(
    n: int, draws: int, level: float = 0.95, most: int = CUTS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the cuts and the simultaneous band of the ECDF.

    Args:
        n: Number of ranks.
        draws: S.
        level: Probability that uniform ranks stay inside at every cut, at least.
        most: Largest number of intervals.

    Returns:
        p_k, lower and upper edges of the fraction of ranks below each cut, each (m,).

    Example:
        >>> p, lower, upper = band(200, 9)
        >>> p.shape, bool((lower < p).all()), bool((p < upper).all())
        ((9,), True, True)
    """
    gamma = pointwise(n, draws, level, most)
    p = np.array(cuts(draws, most)) / (draws + 1)
    lower, upper = _allowed(n, p, gamma)
    return p, lower / n, upper / n


def counts(ranks: Sequence[int] | np.ndarray, draws: int, most: int = CUTS) -> np.ndarray:
    """Return C_k, the number of ranks below each cut, shape (m,)."""
    return np.searchsorted(np.sort(np.asarray(ranks)), np.array(cuts(draws, most)), side="left")


def p_value(ranks: Sequence[int] | np.ndarray, draws: int, most: int = CUTS) -> float:
    """Return the probability that uniform ranks leave the uniform distribution as visibly as these do.

    p = 1 − Pr(C_k ∈ A_k(g) for all k),    g = min_k 2 min(Pr(C_k ≤ c_k), Pr(C_k ≥ c_k)).

    Args:
        ranks: Shape (n,), integers in 0 … S.
        draws: S.
        most: Largest number of intervals.

    Returns:
        p, with Pr(p ≤ α) ≤ α for uniform ranks at every n; a bound on it, of that property too, below 1e-11.

    Example:
        >>> p_value([0] * 10 + [1] * 10, draws=1), p_value([0] * 20, draws=1) < 1e-5
        (1.0, True)
    """
    from scipy.stats import binom

    n, c = len(ranks), counts(ranks, draws, most)
    p = np.array(cuts(draws, most)) / (draws + 1)
    g = 2.0 * float(np.minimum(binom.cdf(c, n, p), binom.sf(c - 1, n, p)).min())
    if g >= 1.0:
        return 1.0
    if len(p) * g < TINY:
        return len(p) * g  # at most this, by the union bound
    return min(1.0, max(0.0, 1.0 - coverage(n, draws, g * (1.0 + SLACK), most)))
