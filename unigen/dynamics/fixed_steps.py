"""Fixed steps written out in tensor operations: the number of evaluations is known beforehand, and they compile."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from unigen.dynamics.evaluations import Evaluations
from unigen.dynamics.ode_solver import Field, ODESolver, State, check_times
from unigen.dynamics.solvers import integrate_ode
from unigen.errors import ArgumentError, DivergedError

Step = Callable[[Field, float, float, State], State]


@final
class FixedSteps(ODESolver):
    """Equal steps, a number known beforehand: written out in tensor operations, so that a training step compiles.

    The error falls as steps^−1, steps^−2 or steps^−4. Between two of the times asked for there are as many steps as
    their share of the whole, at least one.

    Args:
        steps: Number of steps from the first time to the last.
        method: ``euler``, ``midpoint``, or ``rk4`` (Kutta's 3/8 rule, four evaluations a step).
        adjoint: Differentiate by the adjoint method, in the same steps; this runs uncompiled, by torchdiffeq.

    Raises:
        ArgumentError: No step, or an unknown method.

    References:
        Kutta 1901.

    Example:
        >>> count = Evaluations()
        >>> x = FixedSteps(20).path(lambda t, x: -x, torch.ones(1), (0.0, 1.0), (), count)
        >>> round(float(x[-1]), 5), count.forward
        (0.36788, 80)
    """

    def __init__(self, steps: int = 20, method: str = "rk4", adjoint: bool = False) -> None:
        if steps < 1:
            raise ArgumentError(program="FixedSteps", site="steps", got=steps, expected="≥ 1")
        if method not in _STEPS:
            raise ArgumentError(program="FixedSteps", site="method", got=method, expected=" | ".join(_STEPS))
        self.steps, self.method, self.adjoint = steps, method, adjoint

    def grid(self, times: Sequence[float], whole: float) -> list[tuple[float, ...]]:
        """Times of the steps between each two times, both ends included; ``whole`` takes all the steps."""
        return [
            (*(a + (b - a) * i / k for i in range(k)), b)
            for a, b in pairwise(times)
            for k in (max(1, math.ceil(self.steps * abs(b - a) / whole - 1e-6)),)
        ]

    def path(
        self, f: Field, x: State, times: Sequence[float], parameters: Sequence[Tensor], count: Evaluations
    ) -> State:
        """States at the given times."""
        times = check_times(times)
        if self.adjoint:
            return self._by_adjoint(f, x, times, parameters, count)
        step = _STEPS[self.method]
        count.begin()

        def counted(t: Tensor, state: State) -> State:
            count.forward += 1
            return f(t, state)

        states = [x]
        for grid in self.grid(times, abs(times[-1] - times[0])):
            for a, b in pairwise(grid):
                x = step(counted, a, b, x)
            states.append(x)
        refuse_non_finite(x)
        if isinstance(x, tuple):
            return tuple(torch.stack(parts) for parts in zip(*states, strict=True))
        return torch.stack(states)

    def _by_adjoint(
        self, f: Field, x: State, times: tuple[float, ...], parameters: Sequence[Tensor], count: Evaluations
    ) -> State:
        """The same steps by torchdiffeq, whose backward pass takes as many, back."""
        whole = abs(times[-1] - times[0])

        def constructor(_: object, y: Tensor, t: Tensor) -> Tensor:
            stops = [float(s) for s in t]
            inner = [s for grid in self.grid(stops, whole) for s in grid[1:]]
            return torch.tensor([stops[0], *inner], dtype=t.dtype, device=t.device)

        value = integrate_ode(
            f, x, times[0], times[-1], method=self.method, options={"grid_constructor": constructor}, at=times,
            adjoint=parameters, count=count,
        ).value  # fmt: skip
        refuse_non_finite(value)
        return value


def refuse_non_finite(x: State) -> None:
    """Refuse a state with NaN or infinity; a state without values, as in a trace, passes.

    Raises:
        DivergedError: A value is not finite.
    """
    for part in x if isinstance(x, tuple) else (x,):
        if not isinstance(part, FakeTensor) and not bool(torch.isfinite(part).all()):
            raise DivergedError(
                "the solution of the ODE is no longer finite",
                hint="more steps, smaller tolerances, float64, or inputs nearer to the data",
            )


def _plus(x: State, *terms: tuple[float, State]) -> State:
    """x + Σ weight · rate, part by part."""
    if not isinstance(x, tuple):
        for weight, rate in terms:
            x = torch.add(x, rate, alpha=weight)
        return x
    return tuple(_plus(part, *((w, rate[i]) for w, rate in terms)) for i, part in enumerate(x))


def _time(t: float, x: State) -> Tensor:
    part = x[0] if isinstance(x, tuple) else x
    return torch.full((), t, dtype=part.dtype, device=part.device)


def _euler(f: Field, a: float, b: float, x: State) -> State:
    return _plus(x, (b - a, f(_time(a, x), x)))


def _midpoint(f: Field, a: float, b: float, x: State) -> State:
    h = b - a
    half = _plus(x, (h / 2, f(_time(a, x), x)))
    return _plus(x, (h, f(_time(a + h / 2, x), half)))


def _rk4(f: Field, a: float, b: float, x: State) -> State:
    h = b - a
    k1 = f(_time(a, x), x)
    k2 = f(_time(a + h / 3, x), _plus(x, (h / 3, k1)))
    k3 = f(_time(a + 2 * h / 3, x), _plus(x, (-h / 3, k1), (h, k2)))
    k4 = f(_time(b, x), _plus(x, (h, k1), (-h, k2), (h, k3)))
    return _plus(x, (h / 8, k1), (3 * h / 8, k2), (3 * h / 8, k3), (h / 8, k4))


_STEPS: dict[str, Step] = {"euler": _euler, "midpoint": _midpoint, "rk4": _rk4}
