"""The clock and the scaled fields by hand, Euler's loop beside torchsde's, and what has the wrong shape."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torchsde
from torch import Tensor

from unigen.dynamics.brownian import FreshIncrements
from unigen.dynamics.stepping import Clock, Stepped
from unigen.errors import ShapeError

F64 = torch.float64
TIMES = torch.tensor([1.0, 0.7, 0.65, 0.2, 0.0], dtype=F64)


class Given:
    """Increments that were drawn before: over [k, k + 1] in units of a step, or over times."""

    levy_area_approximation = "none"

    def __init__(self, noise: Tensor, times: Tensor | None = None) -> None:
        self.noise, self.shape, self.times = noise, noise.shape[1:], times
        self.asked: list[tuple[float, float]] = []

    def __call__(self, ta: float, tb: float) -> Tensor:
        self.asked.append((float(ta), float(tb)))
        if self.times is None:
            return self.noise[int(ta)]
        step = next(k for k, t in enumerate(self.times[:-1]) if math.isclose(max(ta, tb), float(t)))
        return self.noise[step] * math.sqrt(abs(tb - ta))


def drift(t: Tensor, x: Tensor) -> Tensor:
    return t - x**2


def diffusion(t: Tensor, x: Tensor) -> Tensor:
    return 0.5 + t + 0.1 * torch.tanh(x)


def stepped(event: tuple[int, ...] = (3,), times: Tensor = TIMES, g=diffusion) -> tuple[Stepped, Tensor]:
    noise = torch.randn(times.shape[0] - 1, 4, math.prod(event), dtype=F64)
    sde = Stepped(drift, g, times, torch.Size(event), "ito")
    sde.clock = Clock(Given(noise), times.shape[0] - 1, None, None)
    return sde, noise


def test_fields_are_those_of_the_step_scaled_by_its_length():
    """Half-way through step 1, that is at t = .7 − ½ · .05, of a grid that goes down."""
    sde, _ = stepped()
    assert sde.clock is not None
    sde.clock(1, 2)
    x, s, t, h = torch.randn(4, 3, dtype=F64), torch.tensor(1.5), torch.tensor(0.675, dtype=F64), -0.05
    torch.testing.assert_close(sde.f(s, x), drift(t, x) * h)
    torch.testing.assert_close(sde.g(s, x), diffusion(t, x) * math.sqrt(-h))
    v = torch.randn(4, 3, dtype=F64)
    f, gv = sde.f_and_g_prod(s, x, v)
    torch.testing.assert_close(f, sde.f(s, x))
    torch.testing.assert_close(gv, sde.g(s, x) * v)


@pytest.mark.parametrize(
    "g", [lambda t, x: 0.3, lambda t, x: 0.3 + t, diffusion], ids=["number", "time", "state"]
)
def test_events_of_any_shape_are_flat_for_the_solver_and_whole_for_the_fields(g):
    sde, _ = stepped((2, 3), g=g)
    x, v, t = torch.randn(4, 6, dtype=F64), torch.randn(4, 6, dtype=F64), TIMES[0]
    whole = x.reshape(4, 2, 3)
    zero = torch.tensor(0.0)
    torch.testing.assert_close(sde.f(zero, x), drift(t, whole).reshape(4, 6) * -0.3)
    expected = torch.as_tensor(g(t, whole), dtype=F64).expand(4, 2, 3).reshape(4, 6) * math.sqrt(0.3)
    torch.testing.assert_close(sde.g(zero, x), expected)
    f, gv = sde.f_and_g_prod(zero, x, v)
    torch.testing.assert_close(f, sde.f(zero, x))
    torch.testing.assert_close(gv, expected * v)


@pytest.mark.parametrize("event", [(3,), (2, 3)])
@pytest.mark.parametrize("times", [TIMES, TIMES.flip(0)], ids=["down", "up"])
def test_eulers_loop_is_the_formula_and_that_of_torchsde(event, times):
    sde, noise = stepped(event, times)
    x = torch.randn(4, math.prod(event), dtype=F64)
    path = sde.euler(x, trajectory=True)
    by_hand, y = [x], x.reshape(4, *event)
    for k in range(4):
        t, h = times[k], float(times[k + 1] - times[k])
        y = y + drift(t, y) * h + diffusion(t, y) * math.sqrt(abs(h)) * noise[k].reshape(y.shape)
        by_hand.append(y.reshape(4, -1))
    torch.testing.assert_close(path, torch.stack(by_hand))
    torch.testing.assert_close(sde.euler(x), path[-1:])
    motion: Any = sde.clock
    theirs = torchsde.sdeint(sde, x, torch.arange(5.0, dtype=F64), bm=motion, method="euler", dt=1.0)
    torch.testing.assert_close(theirs, path, rtol=1e-12, atol=1e-12)


def test_a_constant_noise_scale_has_a_loop_of_its_own():
    sde, noise = stepped(g=lambda t, x: 0.7)
    x = torch.randn(4, 3, dtype=F64)
    y = x
    for k, h in enumerate(torch.diff(TIMES).tolist()):
        y = y + drift(TIMES[k], y) * h + 0.7 * math.sqrt(abs(h)) * noise[k]
    torch.testing.assert_close(sde.euler(x)[0], y)


def test_the_clock_tells_steps_and_passes_increments_on():
    told: list[tuple[int, int]] = []
    motion = Given(torch.randn(4, 2, 1, dtype=F64))
    clock = Clock(motion, 4, lambda k, n: told.append((k, n)), None)
    for k in range(4):
        assert torch.equal(clock(k, k + 1), motion.noise[k]) and clock.step == k
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4)] and clock.shape == (2, 1)
    assert clock.levy_area_approximation == "none"


@pytest.mark.parametrize("times", [TIMES, TIMES.flip(0)], ids=["down", "up"])
def test_a_motion_over_times_is_asked_forward_and_counted_in_steps(times):
    """Its increments are W(t_{k+1}) − W(t_k) over √h: of variance one, turned round where time runs down."""
    noise = torch.randn(4, 2, 1, dtype=F64)
    high = torch.maximum(times[:-1], times[1:])
    motion = Given(noise, torch.cat((high, torch.zeros(1, dtype=F64))))
    clock = Clock(motion, 4, None, times.tolist())
    sign = 1.0 if times[1] > times[0] else -1.0
    for k in range(4):
        torch.testing.assert_close(clock(k, k + 1), sign * noise[k])
    assert all(a < b for a, b in motion.asked)


def test_with_fresh_increments_the_end_has_the_moments_of_brownian_motion():
    """dx = σ dW on uneven steps: x_T − x_0 ~ N(0, σ² T)."""
    n, times = 20_000, torch.tensor([0.0, 0.1, 0.5, 0.6, 1.5], dtype=F64)
    sde = Stepped(lambda t, x: 0 * x, lambda t, x: 0.8, times, torch.Size((1,)), "ito")
    sde.clock = Clock(FreshIncrements((n, 1), F64), 4, None, None)
    end, variance = sde.euler(torch.zeros(n, 1, dtype=F64))[0, :, 0], 0.64 * 1.5
    assert abs(float(end.mean())) < 5 * math.sqrt(variance / n)
    assert abs(float(end.var()) / variance - 1) < 5 * math.sqrt(2 / n)


def test_fields_of_the_wrong_shape_are_refused():
    x, zero = torch.zeros(4, 3, dtype=F64), torch.tensor(0.0)
    wrong = Stepped(lambda t, x: x[:, :1], diffusion, TIMES, torch.Size((3,)), "ito")
    wrong.clock = Clock(Given(torch.zeros(4, 4, 3, dtype=F64)), 4, None, None)
    for run in (lambda: wrong.f(zero, x), lambda: wrong.f_and_g_prod(zero, x, x), lambda: wrong.euler(x)):
        with pytest.raises(ShapeError, match="shape of the state"):
            run()
    mixing, _ = stepped(g=lambda t, x: torch.eye(3, dtype=F64).expand(4, 3, 3))
    for run in (lambda: mixing.g(zero, x), lambda: mixing.f_and_g_prod(zero, x, x), lambda: mixing.euler(x)):
        with pytest.raises(ShapeError, match="diagonal"):
            run()
