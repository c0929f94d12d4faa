"""The Gaussian closed form against published values, the value formula of Janati et al., limits, and minimality."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unigen.errors import ArgumentError, ShapeError
from unigen.evaluate.gaussian_transport import GaussianPlan, gaussian_transport

EYE = torch.eye(2, dtype=torch.float64)


def spd() -> Tensor:
    m = torch.randn(2, 2, dtype=torch.float64)
    return m @ m.mT + 0.3 * EYE


def root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.sqrt()) @ vectors.mT


def test_unit_gaussians_give_the_golden_ratio():
    plan = gaussian_transport([0.0], [[1.0]], [0.0], [[1.0]], 1.0)
    assert plan.cross.item() == pytest.approx((math.sqrt(5) - 1) / 2, abs=1e-14)
    assert plan.moments(0.5)[1].item() == pytest.approx(0.5 + 0.25 * (math.sqrt(5) - 1) / 1 + 0.25, abs=1e-12)


@pytest.mark.parametrize("eps", [0.05, 0.7, 4.0])
def test_value_is_that_of_janati(eps: float):
    """2 value = ‖Δm‖² + tr A + tr B − tr D + d eps (1 − log 2eps) + eps log det(D + eps I), D = (4A^½BA^½ + eps²)^½."""
    a, b = spd(), spd()
    m_0, m_1 = torch.randn(2, 2, dtype=torch.float64)
    plan = gaussian_transport(m_0, a, m_1, b, eps)
    d = root(4 * root(a) @ b @ root(a) + eps**2 * EYE)
    expected = (m_0 - m_1).square().sum() + torch.trace(a + b - d)
    expected = expected + 2 * eps * (1 - math.log(2 * eps)) + eps * torch.logdet(d + eps * EYE)
    assert 2 * plan.value == pytest.approx(expected.item(), abs=1e-9)


def test_no_other_cross_covariance_is_better():
    a, b, eps = spd(), spd(), 0.8
    best = gaussian_transport(torch.zeros(2), a, torch.ones(2), b, eps)
    for _ in range(20):
        cross = best.cross + 1e-3 * torch.randn(2, 2, dtype=torch.float64)
        assert GaussianPlan(best.mean_0, best.mean_1, a, b, cross, eps).value > best.value


def test_limits_are_optimal_transport_and_independence():
    a, b = spd(), spd()
    near, far = (gaussian_transport(torch.zeros(2), a, torch.zeros(2), b, eps) for eps in (1e-7, 1e7))
    bures = torch.trace(a + b - 2 * root(root(a) @ b @ root(a))).item()
    assert 2 * near.cost == pytest.approx(bures, abs=1e-6)
    assert far.cross.abs().max() < 1e-5


def test_moments_at_the_ends_are_those_given():
    a, b = spd(), spd()
    plan = gaussian_transport(torch.zeros(2), a, torch.ones(2), b, 0.5)
    assert torch.equal(plan.moments(0.0)[1], a) and torch.equal(plan.moments(1.0)[1], b)
    assert plan.moments(1.0)[0].tolist() == [1.0, 1.0]


def test_swapping_the_ends_transposes_the_plan():
    a, b = spd(), spd()
    there = gaussian_transport(torch.zeros(2), a, torch.ones(2), b, 0.5)
    back = gaussian_transport(torch.ones(2), b, torch.zeros(2), a, 0.5)
    assert (there.cross - back.cross.mT).abs().max() < 1e-12


def test_bad_input_is_refused():
    one, zero = torch.eye(1), torch.zeros(1)
    with pytest.raises(ArgumentError, match="eps"):
        gaussian_transport(zero, one, zero, one, 0.0)
    with pytest.raises(ArgumentError, match="positive definite"):
        gaussian_transport(zero, -one, zero, one, 1.0)
    with pytest.raises(ShapeError):
        gaussian_transport(zero, torch.eye(2), zero, one, 1.0)
    with pytest.raises(ShapeError):
        gaussian_transport(zero, one, torch.zeros(2), torch.eye(2), 1.0)
    with pytest.raises(ArgumentError, match=r"\[0, 1\]"):
        gaussian_transport(zero, one, zero, one, 1.0).moments(1.5)
