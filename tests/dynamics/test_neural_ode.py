"""Oracles: the matrix exponential, and the noise floor of a spiral seen through noise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from unigen.dynamics.fixed_steps import FixedSteps
from unigen.dynamics.neural_ode import NeuralODE
from unigen.dynamics.ode_solver import Adaptive
from unigen.errors import ArgumentError, ContextError, DivergedError, DTypeError, EmptyDataError, ShapeError
from unigen.nn.drift import DriftMLP

F64 = torch.float64
TIGHT = (Adaptive(1e-10, 1e-10), Adaptive(1e-10, 1e-10, adjoint=True), FixedSteps(300))


class Linear(nn.Module):
    """dx/dt = A x + B c."""

    def __init__(self, context: int = 0) -> None:
        super().__init__()
        self.a = nn.Parameter(0.5 * torch.randn(3, 3, dtype=F64))
        self.b = nn.Parameter(torch.randn(3, context, dtype=F64)) if context else None

    def forward(self, x, t, context=None):
        drift = x @ self.a.T
        return drift if self.b is None else drift + context @ self.b.T


@pytest.mark.parametrize("solver", TIGHT, ids=repr)
def test_a_linear_drift_is_the_matrix_exponential(solver):
    network, x = Linear(), torch.randn(4, 3, dtype=F64)
    times = [0.0, 0.3, 1.5]
    path = NeuralODE(network, solver, 0.0, 2.0)(x, at=times)
    expected = torch.stack([x @ torch.matrix_exp(t * network.a).T for t in times])
    torch.testing.assert_close(path, expected, rtol=0, atol=1e-8)
    end = NeuralODE(network, solver, 0.0, 2.0)(x)
    torch.testing.assert_close(end, x @ torch.matrix_exp(2.0 * network.a).T, rtol=0, atol=1e-7)
    later = NeuralODE(network, solver, 0.0, 2.0)(x, at=times[1:])
    torch.testing.assert_close(later, path[1:], rtol=0, atol=1e-8)


@pytest.mark.parametrize("solver", TIGHT, ids=repr)
def test_gradients_reach_state_context_and_parameters(solver):
    """x(1) = e^A x + φ(A) B c, as one block of the exponential of [[A, B c], [0, 0]]."""
    network = Linear(context=2)
    x, c = (torch.randn(1, k, dtype=F64, requires_grad=True) for k in (3, 2))
    wanted = (x, c, network.a, network.b)
    block = torch.cat([torch.cat([network.a, network.b @ c.T], 1), torch.zeros(1, 4, dtype=F64)])
    truth = torch.matrix_exp(block)[:3] @ torch.cat([x.T, torch.ones(1, 1, dtype=F64)])
    ode = NeuralODE(network, solver)
    end = ode(x, c)
    torch.testing.assert_close(end, truth.T, rtol=0, atol=1e-8)
    for got, expected in zip(
        torch.autograd.grad(end.square().sum(), wanted),
        torch.autograd.grad(truth.square().sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    assert ode.evaluations.forward > 0
    assert (ode.evaluations.backward > 0) is solver.adjoint


def test_backwards_in_time_undoes_forwards():
    network, x = DriftMLP(2, (16,)).double(), torch.randn(5, 2, dtype=F64)
    there = NeuralODE(network, TIGHT[0])(x)
    torch.testing.assert_close(NeuralODE(network, TIGHT[0], 1.0, 0.0)(there), x, rtol=0, atol=1e-8)


@pytest.mark.slow
def test_it_learns_a_spiral_to_the_noise_floor():
    """201 points of e^{−.3 t} (cos 2t, sin 2t), t in [0, 5], sd .03: mean square residual .0009.

    Least squares with P free parameters are off by sd² P / 402 in the mean square, here at most .0004.
    """
    t = torch.linspace(0.0, 5.0, 201)
    truth = torch.exp(-0.3 * t)[:, None] * torch.stack([torch.cos(2 * t), torch.sin(2 * t)], 1)
    seen = truth + 0.03 * torch.randn_like(truth)

    class Autonomous(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))

        def forward(self, x, t):
            return self.body(x)

    network, dt, width = Autonomous(), 0.025, 20
    windows = torch.stack([seen[i : i + width + 1] for i in range(0, 200, width)], 1)
    first = nn.Parameter(windows[0].clone())  # the state at the beginning of each window
    short = NeuralODE(network, FixedSteps(width, "midpoint"), 0.0, width * dt)
    optimizer = torch.optim.Adam([*network.parameters(), first], 0.02)
    for _ in range(80):  # windows side by side, which must join
        optimizer.zero_grad()
        path = short(first, at=[dt * k for k in range(width + 1)])
        loss = (path - windows).square().mean() + 10 * (path[-1, :-1] - first[1:]).square().mean()
        loss.backward()
        optimizer.step()
    whole = NeuralODE(network, FixedSteps(200, "midpoint"), 0.0, 5.0)
    optimizer = torch.optim.LBFGS(
        [*network.parameters(), first],
        max_iter=30,
        max_eval=40,
        history_size=30,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:  # the whole trajectory from its first state
        optimizer.zero_grad()
        loss = 1000 * (whole(first[:1], at=t.tolist())[:, 0] - seen).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        found = NeuralODE(network, Adaptive(1e-6, 1e-6), 0.0, 5.0)(first[:1], at=t.tolist())[:, 0]
    error, residual = (float((found - y).square().mean()) for y in (truth, seen))
    free = sum(p.numel() for p in network.parameters()) + 2
    assert error < 0.0009 * free / 402
    assert residual < 0.0009 * (1 + 5 * math.sqrt(2 / 402))


def test_bad_input_is_refused():
    x, ode = torch.randn(3, 2), NeuralODE(DriftMLP(2, (8,)), FixedSteps(2))
    with pytest.raises(EmptyDataError):
        ode(torch.zeros(0, 2))
    with pytest.raises(DTypeError):
        ode(torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(DivergedError, match="finite"):
        ode(torch.full((1, 2), math.nan))
    with pytest.raises(ArgumentError, match="sorted"):
        ode(x, at=[0.0, 0.5, 0.2])
    with pytest.raises(ArgumentError, match="increasing"):
        NeuralODE(DriftMLP(2, (8,)), t0=1.0, t1=1.0)
    with pytest.raises(ContextError, match="no context"):
        NeuralODE(DriftMLP(2, (8,), context=1))(x)

    class Wide(nn.Module):
        def forward(self, x, t):
            return torch.cat([x, x], 1)

    with pytest.raises(ShapeError, match=r"drift network.*\(3, 4\).*\(3, 2\)"):
        NeuralODE(Wide())(x)
