from __future__ import annotations

import pytest
import torch
from scipy import stats

from unigen.dynamics.times import AntitheticTimes, LowDiscrepancyTimes, UniformTimes

ALL = [UniformTimes(), LowDiscrepancyTimes(), AntitheticTimes()]


@pytest.mark.parametrize("times", ALL, ids=repr)
@pytest.mark.parametrize("n", [1, 7, 8])
def test_each_time_is_uniform(times, n):
    like = torch.zeros(n, 3, dtype=torch.float64)
    draws = torch.stack([times.draw(like) for _ in range(2000)])
    assert draws.shape == (2000, n)
    assert draws.dtype == torch.float64
    for column in range(n):
        assert stats.kstest(draws[:, column].numpy(), "uniform").pvalue > 1e-7


def test_low_discrepancy_times_fill_the_interval_evenly():
    t = LowDiscrepancyTimes().draw(torch.zeros(50)).sort().values
    torch.testing.assert_close(torch.diff(t), torch.full((49,), 0.02), rtol=0, atol=1e-6)


def test_antithetic_times_come_in_mirrored_pairs():
    t = AntitheticTimes().draw(torch.zeros(9))
    torch.testing.assert_close(t[5:], 1 - t[:4])


@pytest.mark.parametrize("times", [LowDiscrepancyTimes(), AntitheticTimes()], ids=repr)
def test_the_mean_of_a_monotone_integrand_is_less_noisy(times):
    def spread(rule):
        return torch.stack([torch.exp(rule.draw(torch.zeros(16))).mean() for _ in range(500)]).std()

    assert spread(times) < 0.5 * spread(UniformTimes())
