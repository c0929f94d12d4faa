"""Oracles: torch.logit, automatic derivatives, a uniform density, the ends of the interval."""

from __future__ import annotations

import math

import pytest
import torch

from unigen.distributions.bijection import inverse, value_and_log_det
from unigen.distributions.logit import LogitTransform

F64 = torch.float64


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 0.05, 0.3])
def test_value_slope_and_round_trip(alpha):
    f = LogitTransform(alpha)
    x = torch.rand(300, dtype=F64, requires_grad=True)
    z, ladj = value_and_log_det(f, x)
    torch.testing.assert_close(z, torch.logit(alpha + (1 - 2 * alpha) * x), rtol=1e-12, atol=1e-12)
    slope = torch.autograd.grad(z.sum(), x)[0]
    torch.testing.assert_close(ladj, slope.log(), rtol=0, atol=1e-10)
    torch.testing.assert_close(inverse(f, z), x, rtol=0, atol=1e-12)
    ends = inverse(f, torch.tensor([-1e4, 1e4], dtype=F64))
    assert bool(f.domain.check(ends).all())
    edge = alpha / (1 - 2 * alpha)
    torch.testing.assert_close(ends, torch.tensor([-edge, 1 + edge], dtype=F64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_the_ends_are_finite(dtype):
    z, ladj = value_and_log_det(LogitTransform(), torch.tensor([0.0, 1.0], dtype=dtype))
    assert z.isfinite().all() and ladj.isfinite().all() and z[0] < -15 and z[1] > 15


def test_a_logistic_base_gives_the_uniform_density():
    x = torch.rand(100, dtype=F64)
    z, ladj = value_and_log_det(LogitTransform(), x)
    logistic = -z - 2 * torch.nn.functional.softplus(-z)
    assert (logistic + ladj).abs().max() < 1e-12
    shifted, slope = value_and_log_det(LogitTransform(0.1), x)
    total = -shifted - 2 * torch.nn.functional.softplus(-shifted) + slope
    assert (total - math.log(0.8)).abs().max() < 1e-12  # uniform on an interval of length 1 / 0.8
