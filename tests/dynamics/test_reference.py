"""Reference processes: their kernels compose, one is the limit of the other, weights broadcast."""

from __future__ import annotations

import math

import pytest
import torch

from unigen.dynamics.reference import BrownianMotion, OrnsteinUhlenbeck, Reference, over_events
from unigen.errors import ArgumentError


@pytest.mark.parametrize("process", [BrownianMotion(1.7), OrnsteinUhlenbeck(0.9, 1.7)], ids=repr)
def test_kernels_obey_chapman_kolmogorov(process: Reference):
    s, t = torch.tensor(0.3, dtype=torch.float64), torch.tensor(0.45, dtype=torch.float64)
    assert torch.allclose(process.decay(s) * process.decay(t), process.decay(s + t))
    composed = process.decay(t) ** 2 * process.variance(s) + process.variance(t)
    assert (composed - process.variance(s + t)).abs() < 1e-14


def test_variance_of_ornstein_uhlenbeck_solves_its_equation():
    process, n = OrnsteinUhlenbeck(1.3, 0.8), 100_000  # v' = σ² − 2kv, by the midpoint rule: error O(n⁻²)
    v = 0.0
    for _ in range(n):
        half = v + 0.5 / n * (0.64 - 2.6 * v)
        v += (0.64 - 2.6 * half) / n
    assert process.variance(torch.tensor(1.0, dtype=torch.float64)).item() == pytest.approx(v, abs=1e-9)


def test_a_slow_pull_is_brownian_motion():
    x = torch.randn(4, 2, dtype=torch.float64)
    t = torch.linspace(0.1, 0.9, 4, dtype=torch.float64)
    slow, free = OrnsteinUhlenbeck(1e-9, 0.6), BrownianMotion(0.6)
    for ours, theirs in zip(slow.weights(0.05, t, x), free.weights(0.05, t, x), strict=True):
        assert ours.shape == (4, 1)
        assert (ours - theirs).abs().max() < 1e-8
    assert (slow.pull_forward(t, x, -x) - free.pull_forward(t, x, -x)).abs().max() < 1e-7
    assert (slow.pull_backward(t, x, -x) - free.pull_backward(t, x, -x)).abs().max() < 1e-7


def test_times_broadcast_over_events():
    x = torch.zeros(3, 2, 2)
    assert over_events(0.5, x).shape == ()
    assert over_events(torch.rand(3), x).shape == (3, 1, 1)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, True])
def test_bad_constants_are_refused(value: float):
    with pytest.raises(ArgumentError):
        BrownianMotion(value)
    with pytest.raises(ArgumentError, match="BrownianMotion"):
        OrnsteinUhlenbeck(value, 1.0)
