"""Oracles: the spiral and its order of convergence, torchdiffeq's own steps, the adjoint's constant memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchdiffeq

from unigen.dynamics.evaluations import Evaluations
from unigen.dynamics.fixed_steps import FixedSteps
from unigen.errors import ArgumentError, DivergedError

F64 = torch.float64
SPIRAL = torch.tensor([[-0.3, -2.0], [2.0, -0.3]], dtype=F64)  # e^{−.3 t} (cos 2t, sin 2t) from (1, 0)


def spiral(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return x @ SPIRAL.T


def solve(solver, f=spiral, times=(0.0, 3.0), x=None, parameters=()):
    start = torch.tensor([[1.0, 0.0]], dtype=F64) if x is None else x
    count = Evaluations()
    return solver.path(f, start, times, parameters, count), count


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_orders_of_convergence_on_the_spiral(method, order):
    truth = math.exp(-0.9) * torch.tensor([math.cos(6.0), math.sin(6.0)], dtype=F64)
    counts = (512, 1024, 2048) if order < 4 else (64, 128, 256)
    errors = [float((solve(FixedSteps(k, method))[0][-1, 0] - truth).norm()) for k in counts]
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert -slope == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize(("method", "calls"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
@pytest.mark.parametrize("times", [(0.0, 1.0), (1.0, 0.0)])
def test_the_steps_are_torchdiffeqs(method, calls, times):
    def f(t, x):
        return torch.sin(3 * t) * x + t

    x = torch.randn(3, 2, dtype=F64)
    path, count = solve(FixedSteps(8, method), f, times, x)
    stops = torch.tensor(times, dtype=F64)
    expected = torchdiffeq.odeint(f, x, stops, method=method, options={"step_size": 0.125})
    torch.testing.assert_close(path, expected, rtol=0, atol=1e-13)
    assert (count.forward, count.backward) == (8 * calls, 0)


def test_a_tuple_of_states_and_times_between():
    times = (0.0, 0.1, 2.0)
    (path, clock), count = solve(
        FixedSteps(100), lambda t, s: (spiral(t, s[0]), torch.ones_like(s[1])), times,
        (torch.tensor([[1.0, 0.0]], dtype=F64), torch.zeros(1, dtype=F64)),
    )  # fmt: skip
    expected = torch.tensor(
        [[math.exp(-0.3 * t) * math.cos(2 * t), math.exp(-0.3 * t) * math.sin(2 * t)] for t in times],
        dtype=F64,
    )
    torch.testing.assert_close(path[:, 0], expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(clock[:, 0], torch.tensor(times, dtype=F64), rtol=0, atol=1e-12)
    assert count.forward == 4 * 100


def test_adjoint_takes_the_same_steps_and_gives_the_same_gradient_as_they_shrink():
    matrix = SPIRAL.clone().requires_grad_()
    got = {}
    for adjoint in (False, True):
        path, count = solve(
            FixedSteps(300, adjoint=adjoint), lambda t, x: x @ matrix.T, (0.0, 1.0, 3.0), parameters=[matrix]
        )
        (gradient,) = torch.autograd.grad(path.square().sum(), matrix)
        got[adjoint] = path.detach(), gradient, count
    torch.testing.assert_close(got[True][0], got[False][0], rtol=0, atol=1e-13)
    torch.testing.assert_close(got[True][1], got[False][1], rtol=0, atol=1e-6)
    assert got[True][2].forward == got[False][2].forward == 4 * 300
    assert got[False][2].backward == 0
    assert abs(got[True][2].backward - 4 * 300) <= 8  # each of two intervals rounds its share of steps up


class Meter:
    """Bytes that autograd keeps, now and at the most."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    def keep(self, tensor: torch.Tensor) -> Kept:
        return Kept(tensor, self)


class Kept:
    """One saved tensor; it counts until autograd lets it go."""

    def __init__(self, tensor: torch.Tensor, meter: Meter) -> None:
        self.tensor, self.meter, self.size = tensor.detach(), meter, tensor.numel() * tensor.element_size()
        meter.now += self.size
        meter.peak = max(meter.peak, meter.now)

    def __del__(self) -> None:
        self.meter.now -= self.size


def saved_bytes(adjoint: bool, steps: int) -> int:
    """Most bytes that autograd keeps at any time of a solution and its gradient."""
    network = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    meter = Meter()
    with torch.autograd.graph.saved_tensors_hooks(meter.keep, lambda kept: kept.tensor):
        path, _ = solve(
            FixedSteps(steps, adjoint=adjoint), lambda t, x: network(x), x=torch.randn(32, 2),
            parameters=list(network.parameters()),
        )  # fmt: skip
        path[-1].sum().backward()
    return meter.peak


def test_memory_of_the_adjoint_does_not_grow_with_the_number_of_steps():
    adjoint = [saved_bytes(True, steps) for steps in (10, 100, 1000)]
    direct = [saved_bytes(False, steps) for steps in (10, 100)]
    assert max(adjoint) < 1.01 * min(adjoint)
    assert direct[1] > 8 * direct[0]
    assert adjoint[2] < direct[0]


def test_misuse_is_refused():
    with pytest.raises(ArgumentError, match="steps"):
        FixedSteps(0)
    with pytest.raises(ArgumentError, match="rk4"):
        FixedSteps(3, "leapfrog")
    with pytest.raises(ArgumentError, match="sorted"):
        solve(FixedSteps(3), times=(0.0, 2.0, 1.0))
    for adjoint in (False, True):
        with pytest.raises(DivergedError, match="finite"):
            solve(
                FixedSteps(40, "euler", adjoint),
                lambda t, x: x**3 * 1e9,
                x=torch.ones(1, 1, requires_grad=True),
            )
