"""Oracles: exponentials in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from unigen.dynamics.evaluations import Evaluations
from unigen.dynamics.ode_solver import Adaptive, check_times
from unigen.errors import ArgumentError, DivergedError

F64 = torch.float64


@pytest.mark.parametrize("tolerance", [1e-4, 1e-7, 1e-10])
@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3"])
def test_the_error_follows_the_tolerance(tolerance, method):
    count = Evaluations()
    x = Adaptive(tolerance, tolerance, method, max_evaluations=None).path(
        lambda t, y: -y, torch.ones(2, dtype=F64), (0.0, 1.0, 2.0), (), count
    )
    expected = torch.exp(-torch.arange(3, dtype=F64))[:, None].expand(3, 2)
    assert float((x - expected).abs().max()) < 30 * tolerance
    assert count.forward > 6


@pytest.mark.parametrize("adjoint", [False, True])
def test_gradients_and_evaluations_in_both_directions(adjoint):
    """X_1 = exp(−a) x_0, so d x_1/d a = −exp(−a)."""
    a, count = torch.tensor([0.7], dtype=F64, requires_grad=True), Evaluations()
    solver = Adaptive(1e-10, 1e-10, adjoint=adjoint)
    x = solver.path(lambda t, y: -a * y, torch.ones(1, dtype=F64), (0.0, 1.0), [a], count)
    assert count.backward == 0
    (gradient,) = torch.autograd.grad(x[-1].sum(), a)
    assert float(gradient) == pytest.approx(-math.exp(-0.7), abs=1e-8)
    assert (count.backward > 0) is adjoint


def test_a_stiff_equation_runs_out_of_evaluations():
    solver = Adaptive(1e-6, 1e-6, max_evaluations=100)
    with pytest.raises(DivergedError, match=r"100 evaluations.*max_evaluations"):
        solver.path(lambda t, y: -1e5 * y, torch.ones(1), (0.0, 1.0), (), Evaluations())


def test_the_adjoint_runs_out_of_evaluations_too():
    """Forward the equation is at rest; the adjoint's own is stiff."""
    a = torch.ones(1, dtype=F64, requires_grad=True)
    solver = Adaptive(1e-6, 1e-6, adjoint=True, max_evaluations=100)
    x = solver.path(lambda t, y: -1e5 * a * y, torch.zeros(1, dtype=F64), (0.0, 1.0), [a], Evaluations())
    with pytest.raises(DivergedError, match="evaluations"):
        x[-1].sum().backward()


def test_misuse_is_refused():
    with pytest.raises(ArgumentError, match="tolerances"):
        Adaptive(0.0)
    with pytest.raises(ArgumentError, match="max_evaluations"):
        Adaptive(max_evaluations=0)
    for times in ([0.0], [0.0, 0.0], [0.0, 1.0, 0.5], [0.0, math.inf]):
        with pytest.raises(ArgumentError, match="increasing"):
            check_times(times)
    assert check_times([1, 0]) == (1.0, 0.0)
    with pytest.raises(ArgumentError, match="unknown"):
        Adaptive(method="magic").path(lambda t, y: y, torch.ones(1), (0.0, 1.0), (), Evaluations())


def test_a_state_that_is_not_finite_says_so():
    with pytest.raises(DivergedError):
        Adaptive().path(lambda t, y: y / 0.0, torch.ones(1), (0.0, 1.0), (), Evaluations())
