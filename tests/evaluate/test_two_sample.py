from __future__ import annotations

import math

import numpy as np
import ot
import pytest
import torch
from scipy import stats

from unigen.errors import ArgumentError, ShapeError
from unigen.evaluate.two_sample import energy_distance, mmd, sliced_wasserstein

SEED = 20


def within(result, expected: float, z: float = 5.0) -> bool:
    """Whether a statistic lies within z standard errors of its expectation."""
    return abs(result.value - expected) < z * result.stderr


def quantiles(n: int) -> torch.Tensor:
    """Draws of N(0, 1) without noise: its quantiles at (i + ½) / n."""
    return torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)[:, None]


def test_mmd_meets_the_closed_form_of_gaussians() -> None:
    """Kernel of bandwidth 1, N(0, 1) against N(1, 1): 2 / √3 (1 − e^{−1/6}) = .177268."""
    torch.manual_seed(SEED)
    x, y = quantiles(3000), 1 + quantiles(2500)
    assert mmd(x, y, bandwidth=1.0, permutations=0).value == pytest.approx(0.177268, abs=5e-4)
    result = mmd(torch.randn(3000, 1), 1 + torch.randn(2500, 1), bandwidth=1.0, permutations=0)
    assert within(result, 0.177268)
    assert result.stderr < 0.012
    assert result.p_value is None


def test_energy_distance_meets_the_closed_form_of_gaussians() -> None:
    torch.manual_seed(SEED)
    x, y = quantiles(3000), 2 + quantiles(2500)
    assert energy_distance(x, y, permutations=0).value == pytest.approx(1.944260, abs=2e-3)
    result = energy_distance(torch.randn(3000, 1), 2 + torch.randn(2500, 1), permutations=0)
    assert within(result, 1.944260)
    assert result.stderr < 0.08


def test_mmd_and_energy_equal_the_double_sums_written_out() -> None:
    torch.manual_seed(SEED)
    x, y = torch.randn(5, 2, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)

    def value(kernel) -> float:
        xx = sum(kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / 20
        yy = sum(kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / 12
        return float(xx + yy - 2 * sum(kernel(a, b) for a in x for b in y) / 20)

    def gaussian(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.exp(-(a - b).square().sum() / (2 * 0.7**2))

    assert mmd(x, y, bandwidth=0.7, permutations=0).value == pytest.approx(value(gaussian), abs=1e-12)
    expected = value(lambda a, b: -(a - b).norm())
    assert energy_distance(x, y, permutations=0).value == pytest.approx(expected, abs=1e-12)


def test_energy_distance_is_scipys_without_its_bias() -> None:
    """SciPy's is the square root of 2 XY − XX − YY with means over all pairs, equal ones included."""
    torch.manual_seed(SEED)
    x, y = torch.randn(40, 1, dtype=torch.float64), torch.randn(30, 1, dtype=torch.float64) + 1
    biased = stats.energy_distance(x[:, 0].numpy(), y[:, 0].numpy()) ** 2
    xx, yy = (x - x.T).abs().mean(), (y - y.T).abs().mean()
    expected = biased + float(xx + yy - xx * 40 / 39 - yy * 30 / 29)
    assert energy_distance(x, y, permutations=0).value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("test", [mmd, energy_distance])
def test_standard_error_is_the_spread_over_repetitions(test) -> None:
    torch.manual_seed(SEED)
    results = [test(torch.randn(120, 2), 1 + torch.randn(80, 2), permutations=0) for _ in range(400)]
    spread = np.std([r.value for r in results])
    assert np.mean([r.stderr for r in results]) == pytest.approx(spread, rel=0.18)  # 5 / √(2 · 400)


@pytest.mark.parametrize("test", [mmd, energy_distance, sliced_wasserstein])
def test_false_positives_stay_at_their_rate(test) -> None:
    """600 tests of equal laws at level .1, heavy tails and unequal sizes: rejections are Binomial(600, .1)."""
    torch.manual_seed(SEED)
    law = torch.distributions.StudentT(2.0)
    arguments = {"projections": 8} if test is sliced_wasserstein else {}
    p = [
        test(law.sample((25, 2)), law.sample((15, 2)), permutations=39, seed=i, **arguments).p_value
        for i in range(600)
    ]
    assert abs(sum(v <= 0.1 for v in p) - 60) < 5 * math.sqrt(600 * 0.1 * 0.9)
    assert np.mean(p) == pytest.approx(0.5125, abs=5 / math.sqrt(12 * 600))  # uniform on 1/40 … 1


@pytest.mark.parametrize("test", [mmd, energy_distance, sliced_wasserstein])
def test_a_shift_and_a_change_of_scale_are_found(test) -> None:
    torch.manual_seed(SEED)
    x, y = torch.randn(300, 2), torch.randn(200, 2)
    assert test(x, y + 0.8, permutations=99).p_value == 0.01
    assert test(x, 2 * y, permutations=99).p_value == 0.01


def test_mmd_is_unbiased_under_equality() -> None:
    torch.manual_seed(SEED)
    values = torch.tensor(
        [mmd(torch.randn(20, 2), torch.randn(30, 2), permutations=0).value for _ in range(1000)]
    )
    assert abs(float(values.mean())) < 5 * float(values.std()) / math.sqrt(1000)


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 31), (12, 36), (7, 40)])
def test_sliced_wasserstein_in_one_dimension_is_pots(n: int, m: int) -> None:
    torch.manual_seed(SEED)
    x, y = torch.randn(n, 1, dtype=torch.float64), 1 + 2 * torch.randn(m, 1, dtype=torch.float64)
    expected = math.sqrt(float(ot.emd2_1d(x[:, 0].numpy(), y[:, 0].numpy(), metric="sqeuclidean")))
    result = sliced_wasserstein(x, y)
    assert result.value == pytest.approx(expected, rel=1e-10)
    assert result.stderr is None


def test_sliced_wasserstein_is_pots_on_the_same_directions() -> None:
    torch.manual_seed(SEED)
    x, y = torch.randn(50, 3, dtype=torch.float64), 1 + torch.randn(35, 3, dtype=torch.float64)
    theta = torch.randn(16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    theta = (theta / theta.norm(dim=1, keepdim=True)).T.numpy()
    expected = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), projections=theta)
    assert sliced_wasserstein(x, y, projections=16, seed=4).value == pytest.approx(float(expected), rel=1e-8)


def test_sliced_wasserstein_of_a_translation_and_a_dilation() -> None:
    """SW₂² of x and x + a is |a|²/D; of x and c x it is (c − 1)² mean|x|²/D, in expectation over directions."""
    torch.manual_seed(SEED)
    x = torch.randn(200, 5, dtype=torch.float64)
    a = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0])
    moved = sliced_wasserstein(x, x + a, projections=2000)
    assert within(moved, math.sqrt(float(a.square().sum()) / 5))
    assert moved.stderr < 0.03
    dilated = sliced_wasserstein(x, 3 * x, projections=2000)
    assert within(dilated, math.sqrt(4 * float(x.square().sum(1).mean()) / 5))


def test_events_of_any_shape_are_flattened_and_a_seed_repeats() -> None:
    torch.manual_seed(SEED)
    x, y = torch.randn(20, 2, 3), torch.randn(25, 2, 3)
    for test in (mmd, energy_distance, sliced_wasserstein):
        assert test(x, y, permutations=20) == test(x.reshape(20, 6), y.reshape(25, 6), permutations=20)


def test_bad_input_is_refused() -> None:
    x = torch.randn(5, 2)
    with pytest.raises(ShapeError):
        mmd(x, torch.randn(5, 3))
    with pytest.raises(ArgumentError):
        mmd(x, x, bandwidth=0.0)
    with pytest.raises(ArgumentError):
        sliced_wasserstein(x, x, projections=0)
