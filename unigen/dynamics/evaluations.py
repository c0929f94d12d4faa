"""How often the right-hand side of an ODE was evaluated, going forward and in the adjoint's backward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unigen.errors import DivergedError


@dataclass
class Evaluations:
    """Calls of the right-hand side during one solution of an ODE.

    Args:
        forward: Calls while the state was integrated.
        backward: Calls while the adjoint was integrated back; 0 where gradients go through the solver's steps.
    """

    forward: int = 0
    backward: int = 0

    def begin(self) -> None:
        """Start counting another solution."""
        self.forward = self.backward = 0


class Counted(nn.Module):
    """A right-hand side that counts its calls and is never asked for a time outside the interval.

    Args:
        f: Right-hand side, a function (t (), x) -> like x.
        times: Times of the solution, (K,).
        count: Where calls are counted.
        limit: Most calls in one direction, or None.

    Attributes:
        callback_step: Called by torchdiffeq before every step, with time, state and length, where it is set.
    """

    callback_step: Callable[[Tensor, Any, Any], None]

    def __init__(
        self, f: Callable[[Tensor, Any], Any], times: Tensor, count: Evaluations, limit: int | None = None
    ) -> None:
        super().__init__()
        self.f, self.count, self.limit = f, count, limit
        self.low, self.high = times.min(), times.max()
        self.backward_pass = False

    def forward(self, t: Tensor, x: Any) -> Any:
        """dx/dt.

        Raises:
            DivergedError: The limit is reached.
        """
        spent = self.count.backward if self.backward_pass else self.count.forward
        if self.limit is not None and spent >= self.limit:
            raise DivergedError(
                f"the ODE is not solved after {spent} evaluations of its right-hand side, "
                f"at t = {float(t.detach()):.6g}: it is stiff there, "
                "or the tolerances are below what its precision allows",
                hint="larger rtol and atol, a larger max_evaluations, FixedSteps, or a penalty that keeps the "
                "velocity smooth (RNODE)",
            )
        if self.backward_pass:
            self.count.backward += 1
        else:
            self.count.forward += 1
        return self.f(torch.clamp(t, self.low, self.high), x)
