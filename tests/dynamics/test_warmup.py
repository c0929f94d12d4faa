"""Step sizes and masses learned in the warm-up, against Stan's schedule and plain moments."""

from __future__ import annotations

import torch

from unigen.dynamics.warmup import DualAveraging, RunningVariance, window_ends


def test_windows_are_stans():
    assert window_ends(1000) == [100, 150, 250, 450, 950]
    assert window_ends(500) == [100, 150, 250, 450]
    assert window_ends(100) == [90]
    assert window_ends(0) == []


def test_dual_averaging_reaches_the_target():
    """Acceptance exp(−h) has mean .8 at h = log 1.25."""
    rule = DualAveraging(torch.tensor([1.0, 0.01], dtype=torch.float64), 0.8)
    for _ in range(1000):
        rule.update((-rule.step_size).exp())
    torch.testing.assert_close(
        rule.final, torch.full((2,), 0.2231435513, dtype=torch.float64), rtol=0.04, atol=0
    )


def test_running_variance_is_the_shrunk_sample_variance():
    x = torch.randn(30, 4, 3, dtype=torch.float64)
    rule = RunningVariance(x[0])
    for row in x:
        rule.update(row)
    torch.testing.assert_close(rule.value, 30 / 35 * x.var(0) + 1e-3 * 5 / 35, atol=1e-12, rtol=0)
