"""ODE solvers as objects: what a solver is, and those of adaptive step by torchdiffeq.

A solver carries dx/dt = f(t, x) through given times in either direction, and differentiates either through its own
steps (exact gradients of what was computed, memory linear in the number of steps) or by the adjoint method, which
integrates the gradient's own ODE back from the end (gradients of the exact solution up to the tolerance, memory
independent of the number of steps).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, final

from torch import Tensor

from unigen.dynamics.evaluations import Evaluations
from unigen.dynamics.solvers import integrate_ode
from unigen.errors import ArgumentError

State = Any  # a tensor, or a tuple of tensors
Field = Callable[[Tensor, Any], Any]


class ODESolver(ABC):
    """A way to solve dx/dt = f(t, x); stateless. `Adaptive` and `fixed_steps.FixedSteps`."""

    adjoint: bool

    @abstractmethod
    def path(
        self, f: Field, x: State, times: Sequence[float], parameters: Sequence[Tensor], count: Evaluations
    ) -> State:
        """States at the given times.

        Args:
            f: Right-hand side, a function (t (), x) -> like x.
            x: Start, at ``times[0]``: a tensor, or a tuple of tensors.
            times: Strictly increasing or decreasing, at least two.
            parameters: Tensors that f depends on and whose gradients are wanted; read by the adjoint method only.
            count: Where evaluations of f are counted.

        Returns:
            Like x, with a leading dimension over the times.

        Raises:
            DivergedError: The solution is not finite, or out of reach.
        """

    def __repr__(self) -> str:
        """Return the class and its options."""
        options = ", ".join(f"{k}={v!r}" for k, v in vars(self).items())
        return f"{type(self).__name__}({options})"


def check_times(times: Sequence[float]) -> tuple[float, ...]:
    """Return times as numbers, strictly monotone.

    Raises:
        ArgumentError: Fewer than two, not finite, or unsorted.
    """
    values = tuple(float(t) for t in times)
    rising = all(a < b for a, b in pairwise(values)) or all(a > b for a, b in pairwise(values))
    if len(values) < 2 or not rising or not all(map(math.isfinite, values)):
        raise ArgumentError(
            "times must be finite and strictly increasing or decreasing", site="times", got=values,
            expected="at least two, sorted", hint="sorted(set(times))",
        )  # fmt: skip
    return values


@final
class Adaptive(ODESolver):
    """Steps as long as the tolerances allow, by torchdiffeq.

    Args:
        rtol: Relative error a step.
        atol: Absolute error a step.
        method: ``dopri5``, ``dopri8`` or ``bosh3``; or a method of fixed step, with its step in ``options``.
        adjoint: Differentiate by the adjoint method.
        max_evaluations: Give up after so many evaluations in one direction, or None.
        options: Options of the method.

    Raises:
        ArgumentError: A tolerance or the limit is not positive.

    References:
        Dormand & Prince 1980; Chen et al., Neural ordinary differential equations, 2018.
    """

    def __init__(
        self,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        method: str = "dopri5",
        adjoint: bool = False,
        max_evaluations: int | None = 10_000,
        options: dict[str, Any] | None = None,
    ) -> None:
        if not (rtol > 0.0 and atol > 0.0):
            raise ArgumentError(
                program="Adaptive", site="tolerances", got=f"rtol={rtol}, atol={atol}", expected="> 0"
            )
        if max_evaluations is not None and max_evaluations < 1:
            raise ArgumentError(
                program="Adaptive", site="max_evaluations", got=max_evaluations, expected="≥ 1, or None"
            )
        self.rtol, self.atol, self.method, self.adjoint = rtol, atol, method, adjoint
        self.max_evaluations, self.options = max_evaluations, options

    def path(
        self, f: Field, x: State, times: Sequence[float], parameters: Sequence[Tensor], count: Evaluations
    ) -> State:
        """States at the given times."""
        times = check_times(times)
        return integrate_ode(
            f, x, times[0], times[-1], self.rtol, self.atol, self.method, self.options, at=times,
            adjoint=parameters if self.adjoint else None, count=count, max_evaluations=self.max_evaluations,
        ).value  # fmt: skip
