"""BAOAB against the linear recursion of a Gaussian energy, the double well of theorem 25, Verlet's order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from unigen.dynamics.langevin import energy_and_gradient
from unigen.dynamics.underdamped import baoab, check_underdamped, underdamped
from unigen.errors import ArgumentError, DivergedError, EmptyDataError, ShapeError

F64 = torch.float64
N = 50_000


def quadratic(x: Tensor) -> Tensor:
    return 0.5 * 4.0 * x.square().flatten(1).sum(1)  # k = 4


def double_well(x: Tensor) -> Tensor:
    return 0.25 * (x.square() - 1).square().sum(-1)


def recursion(h, gamma, temperature, k=4.0):
    """Transition M (2, 2) and noise covariance of one BAOAB step of ½ k x², composed from its five linear maps."""
    c = math.exp(-gamma * h)
    b, a, o = np.array([[1, 0], [-h * k / 2, 1]]), np.array([[1, h / 2], [0, 1]]), np.diag([1, c])
    after = b @ a
    return after @ o @ a @ b, after @ np.diag([0, temperature * (1 - c * c)]) @ after.T


@pytest.mark.parametrize(("h", "gamma", "temperature"), [(0.1, 1.0, 1.0), (0.8, 0.5, 0.3), (0.9, 5.0, 2.0)])
def test_one_step_is_the_linear_map(h, gamma, temperature):
    step, noise = recursion(h, gamma, temperature)
    x, v = torch.randn(2, 7, 1, dtype=F64)
    zero = torch.zeros_like(x)
    new = baoab(quadratic, x, v, energy_and_gradient(quadratic, x)[1], zero, h, gamma, temperature)
    np.testing.assert_allclose(
        torch.cat(new[:2], 1).numpy(), torch.cat((x, v), 1).numpy() @ step.T, atol=1e-12
    )
    torch.testing.assert_close(new[2], 4.0 * new[0])
    one = baoab(quadratic, zero, zero, zero, torch.ones_like(x), h, gamma, temperature)
    np.testing.assert_allclose(
        np.outer(torch.cat(one[:2], 1)[0], torch.cat(one[:2], 1)[0]), noise, atol=1e-12
    )


@pytest.mark.parametrize(("h", "gamma", "temperature"), [(0.1, 1.0, 1.0), (0.8, 0.5, 0.3), (0.9, 5.0, 2.0)])
def test_positions_of_a_gaussian_energy_have_no_bias_at_any_step(h, gamma, temperature):
    step, noise = recursion(h, gamma, temperature)
    stationary = np.linalg.solve(np.eye(4) - np.kron(step, step), noise.flatten()).reshape(2, 2)
    assert stationary[0, 0] == pytest.approx(temperature / 4.0, rel=1e-12)
    assert abs(stationary[0, 1]) < 1e-12
    assert stationary[1, 1] == pytest.approx(
        temperature * (1 - h * h * 4 / 4), rel=1e-12
    )  # velocities have one


def test_chains_follow_the_recursion_of_their_variance():
    h, gamma, temperature = 0.7, 0.8, 0.5
    step, noise = recursion(h, gamma, temperature)
    start, covariance = torch.zeros(N, 1, dtype=F64), np.diag([0.0, temperature])
    x, v = underdamped(quadratic, start, steps=8, step_size=h, friction=gamma, temperature=temperature)
    for _ in range(8):
        covariance = step @ covariance @ step.T + noise
    found = np.cov(torch.cat((x, v), 1).numpy().T)
    for i, j in ((0, 0), (1, 1), (0, 1)):
        error = math.sqrt((covariance[i, i] * covariance[j, j] + covariance[i, j] ** 2) / N)
        assert abs(found[i, j] - covariance[i, j]) < 5 * error


def test_the_double_well_of_theorem_25():
    start = torch.randn(20_000, 1)
    x, v = underdamped(double_well, start, steps=200, step_size=0.25, friction=1.0, temperature=0.3)
    square = x.square()
    assert (
        abs(float(square.mean()) - 0.840546) < 5 * float(square.std()) / math.sqrt(20_000) + 0.004
    )  # .004: O(h²)
    assert abs(float(v.square().mean()) / 0.3 - 1) < 5 * math.sqrt(2 / 20_000) + 0.05


def moments_by_quadrature(h, gamma, temperature, nodes=40):
    """E x² of BAOAB for the double well after one step from a fixed law, by Gauss–Hermite quadrature over the noise."""
    z, w = np.polynomial.hermite_e.hermegauss(nodes)
    x = torch.full((nodes, 1), 0.7, dtype=F64)
    v = torch.full((nodes, 1), -0.2, dtype=F64)
    new = baoab(
        double_well,
        x,
        v,
        energy_and_gradient(double_well, x)[1],
        torch.from_numpy(z)[:, None],
        h,
        gamma,
        temperature,
    )
    return float((new[0][:, 0].square() * torch.from_numpy(w / w.sum())).sum())


def test_one_step_has_weak_error_of_order_three():
    """E x² after h from (x, v): the Taylor series of the generator to h², and an error of h³ (weak order two)."""
    x, v, gamma, t = 0.7, -0.2, 0.9, 0.3
    slope = x * (x * x - 1)
    first, second = 2 * x * v, 2 * v * v - 2 * x * slope - 2 * gamma * x * v  # L x², L² x²
    errors = [
        abs(moments_by_quadrature(h, gamma, t) - (x * x + h * first + h * h / 2 * second))
        for h in (0.1, 0.05, 0.025)
    ]
    for coarse, fine in zip(errors, errors[1:], strict=False):
        assert abs(math.log2(coarse / fine) - 3) < 0.15


def test_without_friction_it_is_verlet_of_order_two():
    x, errors = torch.ones(1, 1, dtype=F64), []
    for steps in (50, 100, 200):
        end, v = underdamped(
            quadratic, x, torch.zeros_like(x), steps=steps, step_size=3.0 / steps, friction=0.0
        )
        errors.append(abs(float(end) - math.cos(6.0)))
        assert abs(float(quadratic(end)) + 0.5 * float(v) ** 2 - 2.0) < 2.5 * (3.0 / steps) ** 2 * 4
        back, _ = underdamped(quadratic, end, -v, steps=steps, step_size=3.0 / steps, friction=0.0)
        torch.testing.assert_close(back, x, rtol=0, atol=1e-10)  # reversible
    for coarse, fine in zip(errors, errors[1:], strict=False):
        assert abs(math.log2(coarse / fine) - 2) < 0.1


def test_chains_are_rows_of_any_shape():
    x, v = underdamped(quadratic, torch.zeros(3, 2, 4), steps=2, step_size=0.1)
    assert x.shape == v.shape == (3, 2, 4) and not x.requires_grad
    with torch.no_grad():
        same, _ = underdamped(quadratic, torch.ones(3, 1, requires_grad=True), steps=0, step_size=0.1)
    assert torch.equal(same, torch.ones(3, 1))


def test_a_chain_that_is_lost_keeps_the_state_before():
    def quartic(x):
        return x.pow(4).sum(-1)

    start = torch.tensor([[0.1], [30.0]])
    with pytest.raises(DivergedError, match="1 of 2 chains") as caught:
        underdamped(quartic, start, steps=50, step_size=0.5)
    x, v = caught.value.partial
    assert x.shape == (2, 1) and bool(torch.isfinite(x).all() & torch.isfinite(v).all())
    assert "step_size=0.25" in str(caught.value)


@pytest.mark.parametrize(
    "bad", [(-1, 0.1, 1.0, 1.0), (2.0, 0.1, 1.0, 1.0), (3, 0.0, 1.0, 1.0), (3, 0.1, -1.0, 1.0), (3, 0.1, 1.0, 0.0),
            (3, math.inf, 1.0, 1.0), (3, 0.1, math.nan, 1.0)],
)  # fmt: skip
def test_settings_without_meaning_are_refused(bad):
    with pytest.raises(ArgumentError, match="got"):
        check_underdamped(*bad)


def test_other_shapes_are_refused():
    with pytest.raises(ShapeError, match="'v'"):
        underdamped(quadratic, torch.zeros(3, 1), torch.zeros(3), steps=1, step_size=0.1)
    with pytest.raises(EmptyDataError):
        underdamped(quadratic, torch.zeros(0, 1), steps=1, step_size=0.1)
