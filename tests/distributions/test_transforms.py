"""Oracles: Jacobians by automatic differentiation, round trips, and the definition of each map."""

from __future__ import annotations

import math

import pytest
import torch

from unigen.distributions.bijection import inverse, value_and_log_det
from unigen.distributions.transforms import Additive, Affine, Elementwise, Spline, UnitSpline
from unigen.errors import ArgumentError

F64 = torch.float64


def derivative(f, x):
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(f(x).sum(), x)[0]


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
@pytest.mark.parametrize(
    "univariate", [Affine(), Additive(), Spline(8), Spline(3, bound=2.0)], ids=lambda u: type(u).__name__
)
def test_univariate_round_trip_and_slope(univariate, scale):
    phi = scale * torch.randn(400, univariate.size, dtype=F64)
    f = univariate(phi)
    x = 3 * torch.randn(50, 400, dtype=F64)
    z, ladj = value_and_log_det(f, x)
    slope = derivative(f, x)
    assert (slope > 0).all()
    torch.testing.assert_close(ladj.expand(x.shape), slope.log(), rtol=0, atol=1e-10)
    # an inverse is as accurate as the slope allows: |δx| ≤ ε |z| / f'
    error = (inverse(f, z) - x).abs() * slope.clamp_max(1.0)
    assert error.max() < 1e-12 * (1 + z.abs().max())


def test_spline_is_the_identity_outside_and_continuous_at_the_ends():
    f = Spline(6, bound=2.0)(torch.randn(17, dtype=F64))
    out = torch.tensor([-1e4, -2.5, 2.5, 1e4], dtype=F64)
    assert torch.equal(f(out), out)
    ends = torch.tensor([-2.0, 2.0], dtype=F64)
    for delta in (0.0, 1e-9, -1e-9):
        assert (f(ends + delta) - ends).abs().max() < 1e-8


def test_affine_unclip_is_the_inverse_of_the_clip():
    s = torch.linspace(-6.8, 6.8, 101, dtype=F64)
    f = Affine()(torch.stack((torch.zeros_like(s), Affine.unclip(s)), -1))
    _, ladj = value_and_log_det(f, torch.ones_like(s))
    torch.testing.assert_close(ladj, s, rtol=0, atol=1e-11)


def test_unit_spline_starts_as_the_normal_quantile():
    f = UnitSpline(torch.zeros(1, 23, dtype=F64), 8)
    x = torch.linspace(0.01, 0.99, 99, dtype=F64)[:, None]
    z, ladj = value_and_log_det(f, x)
    torch.testing.assert_close(z, torch.special.ndtri(x), rtol=0, atol=1e-12)
    normal = -0.5 * z[:, 0] ** 2 - 0.5 * math.log(2 * math.pi)
    assert (ladj + normal).abs().max() < 1e-12  # a standard normal z is a uniform x


def test_unit_spline_jacobian_round_trip_and_ends():
    phi = 2 * torch.randn(3, 23, dtype=F64)
    f = UnitSpline(phi, 8)
    x = torch.rand(500, 3, dtype=F64)
    z, ladj = value_and_log_det(f, x)
    torch.testing.assert_close(ladj, derivative(f, x).log().sum(-1), rtol=0, atol=1e-10)
    assert (inverse(f, z) - x).abs().max() < 1e-12
    ends = torch.tensor([[0.0] * 3, [1.0] * 3], dtype=F64)
    z, ladj = value_and_log_det(f, ends)
    assert z.isfinite().all() and ladj.isfinite().all()
    assert (inverse(f, torch.tensor([[-50.0] * 3, [50.0] * 3], dtype=F64)) - ends).abs().max() < 1e-12


def test_elementwise_sums_the_log_slopes():
    phi = torch.randn(4, 2, dtype=F64)
    f = Elementwise(Affine(), phi)
    x = torch.randn(9, 4, dtype=F64)
    _, ladj = value_and_log_det(f, x)
    j = torch.autograd.functional.jacobian(lambda v: f(v), x[0])
    torch.testing.assert_close(ladj[0], torch.linalg.slogdet(j)[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{"bins": 1}, {"bound": 0.0}])
def test_bad_splines_are_refused(options):
    with pytest.raises(ArgumentError):
        Spline(**options)
