"""The band of uniform ranks: coverage by enumeration and by simulation, the p-value's distribution."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from unigen.errors import ArgumentError
from unigen.evaluate.ecdf_band import band, counts, coverage, cuts, p_value, pointwise


def inside(c: np.ndarray, n: int, p: np.ndarray, gamma: float) -> np.ndarray:
    """Whether all counts (…, m) have both tails above γ/2."""
    return np.all((binom.cdf(c, n, p) > gamma / 2) & (binom.sf(c - 1, n, p) > gamma / 2), axis=-1)


@pytest.mark.parametrize(("n", "draws"), [(1, 3), (4, 3), (5, 4), (6, 2)])
@pytest.mark.parametrize("gamma", [0.03, 0.2, 0.45])
def test_coverage_by_enumeration_of_all_ranks(n, draws, gamma):
    ranks = np.array(list(itertools.product(range(draws + 1), repeat=n)))
    below = (ranks[:, :, None] < np.array(cuts(draws))).sum(1)
    p = np.array(cuts(draws)) / (draws + 1)
    assert coverage(n, draws, gamma) == pytest.approx(inside(below, n, p, gamma).mean(), abs=1e-12)


@pytest.mark.parametrize(("n", "draws"), [(200, 99), (300, 19), (100, 150)])
def test_the_band_covers_as_stated(n, draws, rng_size=4000):
    """Simulated uniform ranks stay inside with the exact probability, which is at least the level."""
    gamma = pointwise(n, draws, 0.9)
    exact = coverage(n, draws, gamma)
    assert 0.9 <= exact < 0.93
    ranks = np.random.randint(0, draws + 1, (rng_size, n))
    p, lower, upper = band(n, draws, 0.9)
    below = np.stack([counts(r, draws) for r in ranks]) / n
    share = ((below >= lower - 1e-12) & (below <= upper + 1e-12)).all(1).mean()
    assert abs(share - exact) < 5 * (exact * (1 - exact) / rng_size) ** 0.5
    assert p.shape == lower.shape == (min(draws, 99),)


def test_the_p_value_is_exact_by_enumeration():
    """Pr(p ≤ p_0) = p_0 at every attained value p_0, over all 4⁴ rank vectors."""
    n, draws = 4, 3
    values = np.array([p_value(r, draws) for r in itertools.product(range(draws + 1), repeat=n)])
    for value in np.unique(values.round(12)):
        assert (values <= value + 1e-10).mean() == pytest.approx(value, abs=1e-9)


def test_the_p_value_and_the_band_agree():
    n, draws = 150, 20
    _, lower, upper = band(n, draws, 0.8)
    for r in np.random.randint(0, draws + 1, (60, n)):
        below = counts(r, draws) / n
        leaves = bool(((below < lower - 1e-12) | (below > upper + 1e-12)).any())
        value = p_value(r, draws)
        assert leaves == (value < 0.2) or abs(value - 0.2) < 0.01


def test_far_from_uniform_is_far_below_any_level():
    assert p_value(np.zeros(1000, dtype=int), 99) < 1e-300 or p_value(np.zeros(1000, dtype=int), 99) == 0
    assert p_value(np.random.binomial(99, 0.5, 500), 99) < 1e-10
    assert p_value(np.arange(1000) % 100, 99) == pytest.approx(1.0)


def test_refusals():
    for arguments in ((0, 9, 0.9), (10, 0, 0.9), (10, 9, 1.0)):
        with pytest.raises(ArgumentError):
            pointwise(*arguments)
