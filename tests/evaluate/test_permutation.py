from __future__ import annotations

import math

import pytest
import torch

from unigen.errors import ArgumentError, EmptyDataError, NonFiniteError, ShapeError
from unigen.evaluate.permutation import TwoSample, median_distance, memberships, permutation_p_value, pool


def test_pool_flattens_and_stacks() -> None:
    x, y = torch.randn(3, 2, 2), torch.randn(4, 2, 2)
    pooled = pool(x, y)
    assert (pooled.shape, pooled.dtype) == ((7, 4), torch.float64)
    torch.testing.assert_close(pooled[4], y[1].flatten().double())


def test_memberships_are_subsets_of_the_right_size_and_uniform() -> None:
    z = memberships(3, 8, 20_000, seed=0)
    assert z[:, 0].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert (z.sum(0) == 3).all()
    rate, error = z[:, 1:].mean(1), math.sqrt(3 / 8 * 5 / 8 / 20_000)
    assert float((rate - 3 / 8).abs().max()) < 5 * error
    together = (z[0, 1:] * z[1, 1:]).mean()  # P = 3/8 · 2/7
    assert abs(float(together) - 3 / 28) < 5 * math.sqrt(3 / 28 * 25 / 28 / 20_000)


def test_p_value_by_hand() -> None:
    assert permutation_p_value(torch.tensor([2.0, 1.0, 2.0, 3.0])) == 0.75
    assert permutation_p_value(torch.tensor([9.0, 1.0, 2.0, 3.0])) == 0.25
    assert permutation_p_value(torch.tensor([9.0])) is None


def test_p_value_is_uniform_under_exchangeability() -> None:
    """Ranks of 4,000 exchangeable rows among 20 are uniform: χ² with 19 degrees of freedom, below 72.7 (P = 3e-8)."""
    torch.manual_seed(0)
    ranks = [20 * (permutation_p_value(row) or 0.0) for row in torch.randn(4000, 20).double()]
    counts = torch.bincount(torch.tensor(ranks).round().long(), minlength=21)[1:].double()
    assert float((counts - 200).square().sum() / 200) < 72.7


def test_median_distance_by_hand() -> None:
    assert median_distance(torch.tensor([[0.0], [1.0], [3.0]])) == 2.0
    with pytest.raises(ArgumentError, match="bandwidth"):
        median_distance(torch.zeros(5, 1))


def test_result_reads_well() -> None:
    result = TwoSample("MMD²", 0.01234, 0.0021, 0.005, 199, (50, 60))
    assert str(result) == "MMD² = 0.01234 ± 0.0021, p = 0.005 (199 permutations), 50 and 60 draws"
    assert float(result) == 0.01234


def test_bad_input_is_refused() -> None:
    x = torch.randn(3, 2)
    with pytest.raises(EmptyDataError):
        pool(x[:1], x)
    with pytest.raises(ShapeError):
        pool(x, torch.randn(3, 1))
    with pytest.raises(NonFiniteError):
        pool(x, x / 0)
    with pytest.raises(ArgumentError):
        memberships(1, 2, -1, 0)
