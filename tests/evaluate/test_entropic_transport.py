"""Sinkhorn against linear programming, the closed form of Gaussians on a grid, and its own optimality conditions."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from unigen.errors import ArgumentError, DivergedError, EmptyDataError, NonFiniteError, ShapeError
from unigen.evaluate.entropic_transport import sinkhorn
from unigen.evaluate.gaussian_transport import gaussian_transport


def half_square(x: Tensor, y: Tensor) -> Tensor:
    return 0.5 * (x[:, None] - y).square().sum(-1)


@pytest.mark.parametrize("dims", [1, 2])
def test_small_regularisation_reaches_the_best_permutation(dims: int):
    """By enumeration: the entropic cost exceeds the least one by at most eps log n (the entropy of a coupling)."""
    n, eps = 5, 0.05
    x, y = 2 * torch.rand(2, n, dims, dtype=torch.float64) - 1
    cost = half_square(x, y)
    best = min(sum(cost[i, j].item() for i, j in enumerate(p)) / n for p in itertools.permutations(range(n)))
    ours = sinkhorn(x, y, eps, max_iterations=100_000, tolerance=1e-4)
    slack = n * 1e-4 * cost.max().item()  # of the marginals
    assert -slack <= ours.cost - best <= eps * math.log(n) + slack


def test_weighted_points_reach_the_linear_program():
    from scipy.optimize import linprog

    x, y = torch.rand(4, 2, dtype=torch.float64), torch.rand(6, 2, dtype=torch.float64)
    a, b = torch.rand(4, dtype=torch.float64) + 0.2, torch.rand(6, dtype=torch.float64) + 0.2
    a, b = a / a.sum(), b / b.sum()
    rows, columns = torch.kron(torch.eye(4), torch.ones(1, 6)), torch.kron(torch.ones(1, 4), torch.eye(6))
    constraints, totals = torch.cat([rows, columns]).numpy(), torch.cat([a, b]).numpy()
    best = linprog(half_square(x, y).flatten().numpy(), A_eq=constraints, b_eq=totals).fun
    eps = 0.02
    ours = sinkhorn(x, y, eps, a=3 * a, b=b, max_iterations=100_000, tolerance=1e-4)
    slack = 6e-4 * half_square(x, y).max().item()  # of the marginals
    assert -slack <= ours.cost - best <= eps * math.log(6) + slack
    assert (ours.plan.sum(1) - a).abs().max() < 1e-9 and (ours.plan.sum(0) - b).abs().max() < 1e-4


def test_the_plan_is_optimal():
    """log π + cost / eps is a sum of a function of x and one of y, and no nearby coupling is better."""
    x, y, eps = torch.randn(6, 2, dtype=torch.float64), torch.randn(7, 2, dtype=torch.float64), 0.5
    ours = sinkhorn(x, y, eps, tolerance=1e-13)
    potential = ours.plan.log() + half_square(x, y) / eps
    mixed = potential[1:, 1:] - potential[:-1, 1:] - potential[1:, :-1] + potential[:-1, :-1]
    assert mixed.abs().max() < 1e-10
    step = torch.zeros_like(ours.plan)
    step[0, 0], step[1, 1], step[0, 1], step[1, 0] = 1.0, 1.0, -1.0, -1.0
    for size in (0.3, -0.3):
        moved = ours.plan + size * ours.plan[:2, :2].min() * step
        kl = (moved * (moved * 42).log()).sum()
        assert (moved * half_square(x, y)).sum() + eps * kl > ours.value


def grid(mean: float, sd: float, n: int = 400) -> tuple[Tensor, Tensor]:
    x = torch.linspace(mean - 7 * sd, mean + 7 * sd, n, dtype=torch.float64)
    return x[:, None], torch.exp(-0.5 * ((x - mean) / sd).square())


def moments(plan: Tensor, x: Tensor, y: Tensor) -> tuple[float, float, float]:
    a, b = plan.sum(1), plan.sum(0)
    u, v = x[:, 0] - (a * x[:, 0]).sum(), y[:, 0] - (b * y[:, 0]).sum()
    return (a * u * u).sum().item(), (b * v * v).sum().item(), (u @ plan @ v).item()


@pytest.mark.parametrize("eps", [0.3, 1.0, 5.0])
def test_gaussians_on_a_grid_are_the_closed_form(eps: float):
    """The trapezoidal rule converges geometrically here: the tolerance is that of the iterations."""
    (x, a), (y, b) = grid(0.3, 1.0, 200), grid(-0.5, 0.6, 200)
    ours = sinkhorn(x, y, eps, a=a, b=b)
    exact = gaussian_transport([0.3], [[1.0]], [-0.5], [[0.36]], eps)
    assert moments(ours.plan, x, y)[2] == pytest.approx(exact.cross.item(), abs=1e-7)
    assert ours.cost == pytest.approx(exact.cost, abs=1e-7)
    assert ours.divergence == pytest.approx(exact.divergence, abs=1e-6)


def test_published_mixture():
    """½N(±2, .35²) → N(0, .45²), sigma = .6: correlation .766476, Var x_½ = 1.521406."""
    (x, _), (y, b) = grid(0.0, 0.7, 400), grid(0.0, 0.45, 300)
    a = sum(torch.exp(-0.5 * ((x[:, 0] - m) / 0.35).square()) for m in (-2.0, 2.0))
    ours = sinkhorn(x, y, 0.36, a=a, b=b)
    v_x, v_y, cross = moments(ours.plan, x, y)
    assert cross / math.sqrt(v_x * v_y) == pytest.approx(0.766476, abs=2e-6)
    assert 0.25 * (v_x + v_y + 2 * cross) + 0.25 * 0.36 == pytest.approx(1.521406, abs=2e-6)


def test_large_regularisation_makes_the_ends_independent():
    x, y = torch.randn(5, 2), torch.randn(4, 2)
    ours = sinkhorn(x, y, 1e6)
    assert (ours.plan - 1 / 20).abs().max() < 1e-5
    assert ours.divergence == pytest.approx(0.0, abs=1e-6)
    assert (ours.barycentres(y) - y.mean(0)).abs().max() < 1e-4


def test_bad_input_is_refused():
    x = torch.randn(3, 2)
    for eps in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ArgumentError, match="eps"):
            sinkhorn(x, x, eps)
    with pytest.raises(ShapeError, match="different dimensions"):
        sinkhorn(x, torch.randn(3, 3), 1.0)
    with pytest.raises(ShapeError, match="None"):
        sinkhorn(x[:, 0], x, 1.0)
    with pytest.raises(EmptyDataError):
        sinkhorn(x[:0], x, 1.0)
    with pytest.raises(NonFiniteError):
        sinkhorn(x / 0, x, 1.0)
    with pytest.raises(ArgumentError, match="weight"):
        sinkhorn(x, x, 1.0, a=torch.tensor([1.0, 0.0, 1.0]))
    with pytest.raises(ShapeError):
        sinkhorn(x, x, 1.0, b=torch.ones(2))
    with pytest.raises(ArgumentError):
        sinkhorn(x, x, 1.0, max_iterations=0)
    with pytest.raises(DivergedError, match="larger eps"):
        sinkhorn(
            torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [5.0]]), 0.01, a=[1.0, 2.0], max_iterations=3
        )
    with pytest.raises(ShapeError):
        sinkhorn(x, x, 1.0).barycentres(torch.randn(4, 2))
