"""Theorem 22: MMD and energy distance of Gaussians in closed form, and the library's other estimators."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.evaluate.two_sample import energy_distance, mmd
from unigen.nn.kernels import DistanceKernel, GaussianKernel, Kernel, squared_mmd

RBF = GaussianKernel((1.0,), relative=False)
REPEATS, ROWS = 400, 60


def estimates(kernel: Kernel, shift: float, scale: float = 1.0) -> Tensor:
    """Independent estimates of MMD² between N(0, 1) and N(shift, scale²)."""
    x, y = torch.randn(REPEATS, ROWS, 1).double(), shift + scale * torch.randn(REPEATS, ROWS, 1).double()
    return torch.stack([squared_mmd(kernel, a, b) for a, b in zip(x, y, strict=True)])


@pytest.mark.parametrize(
    ("kernel", "shift", "exact"),
    [(RBF, 1.0, 0.177268), (DistanceKernel(), 2.0, 1.944260), (RBF, 0.0, 0.0), (DistanceKernel(), 0.0, 0.0)],
    ids=repr,
)
def test_the_estimate_is_unbiased_for_the_squared_distance_in_closed_form(
    kernel: Kernel, shift: float, exact: float
) -> None:
    found = estimates(kernel, shift)
    assert abs(float(found.mean()) - exact) < 5 * float(found.std()) / math.sqrt(REPEATS)


def test_the_closed_forms_are_the_numbers_of_the_theorem() -> None:
    """E exp(−d²/2) = exp(−μ²/6)/√3 for d ~ N(μ, 2); E|d| = μ erf(μ/2) + 2 exp(−μ²/4)/√π."""
    assert 2 * (1 - math.exp(-1 / 6)) / math.sqrt(3) == pytest.approx(0.177268, abs=1e-6)
    far = 2 * math.erf(1.0) + 2 * math.exp(-1.0) / math.sqrt(math.pi)
    assert 2 * far - 4 / math.sqrt(math.pi) == pytest.approx(1.944260, abs=1e-6)


def test_it_is_the_statistic_of_the_two_sample_tests() -> None:
    x, y = torch.randn(30, 2, 2).double(), 0.5 + torch.randn(20, 2, 2).double()
    assert float(squared_mmd(RBF, x, y)) == pytest.approx(float(mmd(x, y, 1.0, permutations=0)), abs=1e-12)
    found = float(squared_mmd(DistanceKernel(), x, y))
    assert found == pytest.approx(float(energy_distance(x, y, permutations=0)), abs=1e-12)


def test_relative_bandwidths_make_it_free_of_units() -> None:
    x, y = torch.randn(30, 2).double(), 0.5 + torch.randn(20, 2).double()
    torch.testing.assert_close(
        squared_mmd(GaussianKernel(), 100 * x, 100 * y), squared_mmd(GaussianKernel(), x, y)
    )
    assert float(squared_mmd(DistanceKernel(1.5), 4 * x, 4 * y)) == pytest.approx(
        8 * float(squared_mmd(DistanceKernel(1.5), x, y))
    )


@pytest.mark.parametrize("kernel", [GaussianKernel(), DistanceKernel(), DistanceKernel(0.5)], ids=repr)
def test_the_gradient_is_that_of_finite_differences_and_finite_where_rows_coincide(kernel: Kernel) -> None:
    x, y = torch.randn(6, 2).double(), torch.randn(5, 2).double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda y: squared_mmd(kernel, x, y), y)
    if kernel.__dict__.get("power") != 0.5:
        same = torch.zeros(4, 2).double().requires_grad_(True)
        (gradient,) = torch.autograd.grad(squared_mmd(kernel, x, same), same)
        assert bool(gradient.isfinite().all())


def test_bad_kernels_are_refused() -> None:
    for make in (
        lambda: GaussianKernel(()),
        lambda: GaussianKernel((1.0, 0.0)),
        lambda: DistanceKernel(0.0),
        lambda: DistanceKernel(2.0),
    ):
        with pytest.raises(ArgumentError, match="expected"):
            make()
