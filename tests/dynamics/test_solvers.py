"""Oracles: closed-form solutions, fitted orders of convergence, a hand-written loop with the same seed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from unigen.dynamics.brownian import FreshIncrements
from unigen.dynamics.solvers import integrate_ode, integrate_sde, solve_stepped
from unigen.dynamics.stepping import Clock, Stepped
from unigen.errors import ArgumentError, DivergedError, DTypeError, EmptyDataError, ShapeError


class Recorded:
    """Fresh increments that remember their sum W(T)."""

    def __init__(self, size):
        self.motion = FreshIncrements(size, torch.float64)
        self.shape, self.levy_area_approximation, self.total = self.motion.shape, "none", 0.0

    def __call__(self, ta, tb):
        increment = self.motion(ta, tb)
        self.total = self.total + increment
        return increment


def slope(steps, errors):
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


def strong_error(method, steps, n=40_000, rate=0.4, volatility=0.7):
    """E|x_T − X_T| for geometric Brownian motion, whose solution depends on W(T) alone."""
    ito = method in ("euler", "milstein", "srk")
    x, grid = torch.ones(n, 1, dtype=torch.float64), torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    fields = (lambda t, y: rate * y), (lambda t, y: volatility * y)
    if method == "srk":  # its own motion: the same seed gives the same W(T)
        generator = torch.Generator().manual_seed(steps)
        end = integrate_sde(*fields, x, grid, method, generator=generator)
        from torchsde import BrownianInterval

        seed = int(torch.randint(2**31 - 1, (), generator=generator.manual_seed(steps)))
        again = BrownianInterval(
            0.0, float(steps), (n, 1), torch.float64, "cpu", seed, 1.0, levy_area_approximation="space-time"
        )
        total = again(0.0, float(steps)) / math.sqrt(steps)
    else:
        motion = Recorded((n, 1))
        end = integrate_sde(*fields, x, grid, method, brownian=motion, stratonovich=not ito)
        total = motion.total
    exponent = rate - (0.5 * volatility**2 if ito else 0.0)
    return float((end - torch.exp(exponent + volatility * total)).abs().mean())


@pytest.mark.parametrize(
    ("method", "order"), [("euler", 0.5), ("milstein", 1.0), ("heun", 1.0), ("midpoint", 1.0)]
)
def test_strong_order_on_geometric_brownian_motion(method, order):
    steps = [16, 32, 64, 128]
    assert slope(steps, [strong_error(method, k) for k in steps]) == pytest.approx(order, abs=0.15)


def test_strong_order_of_srk():
    steps = [4, 8, 16, 32]
    assert slope(steps, [strong_error("srk", k, n=10_000) for k in steps]) == pytest.approx(1.5, abs=0.15)


def test_strong_order_of_euler_with_additive_noise():
    """dx = x dt + dW: against the same path on a grid 16 times finer."""
    n, errors, steps = 4_000, [], [8, 16, 32, 64]
    fine = torch.randn(1024, n, 1, dtype=torch.float64) / math.sqrt(1024)

    class Path:
        shape, levy_area_approximation = (n, 1), "none"

        def __call__(self, ta, tb):
            return fine[round(ta * 1024) : round(tb * 1024)].sum(0)

    def solve(k):
        grid = torch.linspace(0, 1, k + 1, dtype=torch.float64)
        x = torch.ones(n, 1, dtype=torch.float64)
        return integrate_sde(lambda t, y: y, lambda t, y: 1.0, x, grid, brownian=Path())

    reference = solve(1024)
    errors = [float((solve(k) - reference).abs().mean()) for k in steps]
    assert slope(steps, errors) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("event", [(3,), (2, 3)])
def test_euler_is_that_of_torchsde_with_the_same_increments(event):
    """And Milstein's method is Euler's where the noise does not depend on the state."""
    times, x = torch.linspace(1, 0, 6, dtype=torch.float64) ** 2, torch.randn(4, *event, dtype=torch.float64)
    fields = (lambda t, y: t - y**2), (lambda t, y: 0.5 + t)
    noise = torch.randn(5, 4, math.prod(event), dtype=torch.float64)

    class Path:
        shape, levy_area_approximation = (4, math.prod(event)), "none"

        def __call__(self, ta, tb):
            step = next(i for i in range(5) if math.isclose(float(times[i]), tb))
            return noise[step] * math.sqrt(tb - ta)

    ours = integrate_sde(*fields, x, times, brownian=Path(), trajectory=True)
    sde = Stepped(*fields, times, x.shape[1:], "ito")
    sde.clock = Clock(Path(), 5, None, times.tolist())
    theirs = solve_stepped(sde, x.flatten(1), torch.arange(6.0, dtype=torch.float64), "euler", None)
    torch.testing.assert_close(ours.flatten(2), theirs, rtol=1e-12, atol=1e-12)
    milstein = integrate_sde(*fields, x, times, "milstein", brownian=Path(), trajectory=True)
    torch.testing.assert_close(ours, milstein, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", ["euler", "heun", "milstein", "srk"])
def test_noise_that_mixes_coordinates_is_refused(method):
    mixing = torch.eye(3).expand(2, 3, 3)
    with pytest.raises(ShapeError, match="diagonal"):
        integrate_sde(
            lambda t, y: -y,
            lambda t, y: mixing,
            torch.ones(2, 3),
            [0.0, 0.5, 1.0],
            method,
            stratonovich=method == "heun",
        )


ORDERS = [("euler", 1), ("midpoint", 2), ("heun2", 2), ("heun3", 3), ("rk4", 4)]


@pytest.mark.parametrize(("method", "order"), ORDERS)
def test_order_of_ode_methods(method, order):
    errors, steps = [], [20, 40, 80]
    for k in steps:
        x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
        turn = lambda t, y: torch.stack([-0.3 * y[:, 0] - 2 * y[:, 1], 2 * y[:, 0] - 0.3 * y[:, 1]], 1)  # noqa: E731
        end = integrate_ode(turn, x, 0.0, 1.0, method=method, options={"step_size": 1.0 / k}).value
        exact = math.exp(-0.3) * torch.tensor([[math.cos(2.0), math.sin(2.0)]], dtype=torch.float64)
        errors.append(float((end - exact).norm()))
    assert slope(steps, errors) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("method", ["heun", "midpoint"])
def test_stages_within_a_step_keep_their_order_on_an_uneven_grid(method):
    errors, counts = [], [40, 80, 160]
    for k in counts:
        grid = torch.linspace(0, 1, k + 1, dtype=torch.float64) ** 2 + torch.linspace(
            0, 1, k + 1, dtype=torch.float64
        )
        x = torch.ones(1, 1, dtype=torch.float64)
        end = integrate_sde(lambda t, y: -2 * t * y, lambda t, y: 0.0, x, grid, method)
        errors.append(abs(float(end) - math.exp(-4.0)))
    assert slope(counts, errors) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3"])
def test_adaptive_methods_meet_their_tolerance_both_ways(method):
    x = torch.rand(4, 2, dtype=torch.float64)
    there = integrate_ode(lambda t, y: t * y, x, 0.0, 1.0, 1e-8, 1e-8, method)
    torch.testing.assert_close(there.value, x * math.exp(0.5), rtol=1e-7, atol=0)
    back = integrate_ode(lambda t, y: t * y, there.value, 1.0, 0.0, 1e-8, 1e-8, method)
    torch.testing.assert_close(back.value, x, rtol=1e-7, atol=0)


def test_evaluations_are_counted_and_states_reported():
    calls = []
    solution = integrate_ode(
        lambda t, y: (calls.append(1), -y)[1], torch.ones(1), 0.0, 1.0, method="rk4", at=(0.0, 0.5, 1.0)
    )
    assert solution.evaluations == len(calls) == 8
    torch.testing.assert_close(
        solution.value, torch.exp(-torch.tensor([[0.0], [0.5], [1.0]])), rtol=1e-2, atol=0
    )


def test_ode_gradients_by_steps_and_by_the_adjoint():
    x = torch.ones(3, 1, dtype=torch.float64)
    gradients = []
    for adjoint in (False, True):
        rate = torch.nn.Parameter(torch.tensor([0.7], dtype=torch.float64))
        end = integrate_ode(
            lambda t, y, r=rate: r * y, x, 0.0, 1.0, 1e-9, 1e-9, adjoint=[rate] if adjoint else None
        ).value
        gradients.append(torch.autograd.grad(end.sum(), rate)[0])
    for gradient in gradients:
        torch.testing.assert_close(
            gradient, torch.tensor([3 * math.exp(0.7)], dtype=torch.float64), rtol=1e-6, atol=0
        )


@pytest.mark.parametrize("event", [(), (3,), (2, 3), (1, 4, 4)])
@pytest.mark.parametrize("direction", [1, -1])
def test_euler_is_the_hand_written_loop_for_any_event(event, direction):
    x = torch.randn(5, *event)
    times = torch.tensor([0.0, 0.1, 0.3, 0.35, 1.0])
    times = times if direction == 1 else times.flip(0)
    drift, diffusion = (lambda t, y: t - y), (lambda t, y: 0.5 + t)
    torch.manual_seed(0)
    path = integrate_sde(drift, diffusion, x, times, trajectory=True)
    torch.manual_seed(0)
    hand = [x]
    for t, ahead in itertools.pairwise(times):
        h = ahead - t
        hand.append(hand[-1] + (t - hand[-1]) * h + (0.5 + t) * h.abs().sqrt() * torch.randn(5, *event))
    torch.testing.assert_close(path, torch.stack(hand), rtol=1e-4, atol=1e-5)


def test_a_seed_or_a_generator_reproduces():
    args = (lambda t, y: -y), (lambda t, y: 1.0), torch.zeros(3, 2), torch.linspace(0, 1, 9)
    for method in ("euler", "heun", "milstein", "srk"):
        ends = []
        for _ in range(2):
            torch.manual_seed(4)
            ends.append(integrate_sde(*args, method))
        assert torch.equal(*ends)
        ends = [integrate_sde(*args, method, generator=torch.Generator().manual_seed(2)) for _ in range(2)]
        assert torch.equal(*ends)


def test_chunks_of_a_trajectory_end_where_the_end_is():
    args = (lambda t, y: -y), (lambda t, y: 1.0), torch.zeros(3, 2), torch.linspace(0, 1, 9)
    path = integrate_sde(*args, trajectory=True, generator=torch.Generator().manual_seed(2))
    end = integrate_sde(*args, generator=torch.Generator().manual_seed(2))
    assert path.shape == (9, 3, 2)
    assert torch.equal(path[0], args[2])
    torch.testing.assert_close(path[-1], end)


def test_progress_is_reported():
    seen = []
    integrate_sde(
        lambda t, y: -y, lambda t, y: 1.0, torch.zeros(3, 2), torch.linspace(0, 1, 4),
        progress=lambda k, total: seen.append((k, total)),
    )  # fmt: skip
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_sde_gradients_by_steps_and_by_the_adjoint_agree_with_the_mean():
    """dx = −a x dt + .1 dW: d E x_T / da = −T exp(−a T) x_0."""
    x, times, gradients = (
        torch.ones(400, 1, dtype=torch.float64),
        torch.linspace(0, 1, 201, dtype=torch.float64),
        [],
    )
    for adjoint in (False, True):
        a = torch.nn.Parameter(torch.tensor([0.5], dtype=torch.float64))
        end = integrate_sde(
            lambda t, y, a=a: -a * y, lambda t, y: torch.tensor(0.1, dtype=torch.float64), x, times,
            adjoint=[a] if adjoint else None,
        )  # fmt: skip
        gradients.append(float(torch.autograd.grad(end.mean(), a)[0]))
    assert gradients == pytest.approx([-math.exp(-0.5)] * 2, abs=0.01 + 5 * 0.1 / math.sqrt(400))


def test_stratonovich_methods_want_noise_that_ignores_the_state():
    with pytest.raises(ArgumentError, match="Stratonovich"):
        integrate_sde(lambda t, y: y, lambda t, y: y, torch.ones(2, 1), [0.0, 1.0], "heun")
    with pytest.raises(ArgumentError, match="Itô"):
        integrate_sde(
            lambda t, y: y, lambda t, y: y, torch.ones(2, 1), [0.0, 1.0], "euler", stratonovich=True
        )


@pytest.mark.parametrize("times", [[0.0], [0.0, 0.5, 0.4], [0.0, 0.0], [0.0, math.nan], [[0.0, 1.0]]])
def test_bad_grids_are_refused(times):
    with pytest.raises(ArgumentError, match="time"):
        integrate_sde(lambda t, y: y, lambda t, y: 1.0, torch.ones(2, 1), times)


def test_misuse_is_refused():
    good = (lambda t, y: y), (lambda t, y: 1.0)
    with pytest.raises(ArgumentError, match="euler"):
        integrate_sde(*good, torch.ones(2, 1), [0.0, 1.0], "leapfrog")
    with pytest.raises(ShapeError, match="shape of the state"):
        integrate_sde(lambda t, y: y[:, :1], good[1], torch.ones(2, 3), [0.0, 1.0])
    with pytest.raises(DTypeError, match="real"):
        integrate_sde(*good, torch.ones(2, 1, dtype=torch.int64), [0.0, 1.0])
    with pytest.raises(EmptyDataError):
        integrate_sde(*good, torch.ones(0, 1), [0.0, 1.0])
    with pytest.raises(ArgumentError, match="dopri5"):
        integrate_ode(good[0], torch.ones(1), 0.0, 1.0, method="magic")
    with pytest.raises(ArgumentError, match="positive"):
        integrate_ode(good[0], torch.ones(1), 0.0, 1.0, rtol=0.0)
    with pytest.raises(ArgumentError, match="increasing"):
        integrate_ode(good[0], torch.ones(1), 1.0, 1.0)


def test_an_ode_that_blows_up_says_so():
    with pytest.raises(DivergedError, match="gave up"):
        integrate_ode(lambda t, y: y**2, torch.ones(1, dtype=torch.float64), 0.0, 1.5)


def test_an_adaptive_method_never_leaves_the_interval():
    seen = []
    for t0, t1 in ((0.0, 1.0), (1.0, 0.0)):
        integrate_ode(
            lambda t, y: (seen.append(float(t)), 1e-4 * torch.sqrt(t))[1].expand_as(y), torch.ones(3), t0, t1
        )
    assert min(seen) == 0.0
    assert max(seen) == 1.0


def test_strong_order_of_srk_with_additive_noise_and_a_linear_drift():
    """dx = −x dt + dW against exp(−T) ∫ exp(s) dW, from the path and its integral over eighths of a step.

    A linear drift leaves nothing of order 3/2 (the term with f'' is the only one), so that the order seen is two.
    """
    from torchsde import BrownianInterval

    n, parts, errors, steps = 2_000, 8, [], [4, 8, 16]
    for k in steps:
        x, grid = torch.zeros(n, 1, dtype=torch.float64), torch.linspace(0, 1, k + 1, dtype=torch.float64)
        generator = torch.Generator().manual_seed(k)
        end = integrate_sde(lambda t, y: -y, lambda t, y: 1.0, x, grid, "srk", generator=generator)
        seed = int(torch.randint(2**31 - 1, (), generator=generator.manual_seed(k)))
        path = BrownianInterval(
            0.0, float(k), (n, 1), torch.float64, "cpu", seed, 1.0, levy_area_approximation="space-time"
        )
        for i in range(k):
            path(float(i), float(i + 1), return_U=True)
        exact = x
        for i in range(k * parts):
            w, u = path(i / parts, (i + 1) / parts, return_U=True)
            exact = math.exp(-1 / (k * parts)) * exact + w / math.sqrt(k) - u / k**1.5
        errors.append(float((end - exact).abs().mean()))
    assert slope(steps, errors) == pytest.approx(2.0, abs=0.15)
