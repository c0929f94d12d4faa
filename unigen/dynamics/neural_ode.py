"""A neural ODE: the state at t1 of dx/dt = net(x, t, c), as a module.

Notation: x (N, *event) state, t () time, c (N, C) context.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from unigen.dynamics.evaluations import Evaluations
from unigen.dynamics.fixed_steps import refuse_non_finite
from unigen.dynamics.ode_solver import Adaptive, ODESolver, check_times
from unigen.errors import DTypeError, EmptyDataError, ShapeError


def drift_field(network: nn.Module, context: Tensor | None = None) -> Callable[[Tensor, Tensor], Tensor]:
    """A network net(x, t) or net(x, t, context) as a field (t, x) of solvers.

    Args:
        network: Called with x (N, *event), t (N,) and, if one is given, the context (N, C).
        context: Context, (N, C), or None.

    Returns:
        A function (t (), x (N, *event)) -> (N, *event), which raises ShapeError if the network changes the shape.
    """

    def field(t: Tensor, x: Tensor) -> Tensor:
        times = t.expand(x.shape[0])
        v = network(x, times) if context is None else network(x, times, context)
        if v.shape != x.shape:
            raise ShapeError(
                "a drift network keeps the shape of the state",
                program=type(network).__name__,
                got=tuple(v.shape),
                expected=tuple(x.shape),
                hint="as many outputs as the state has features",
            )
        return v

    return field


class NeuralODE(nn.Module):
    """Integrate dx/dt = net(x, t, c) from t0 to t1, differentiably in x, c and the network's parameters.

        x(t1) = x(t0) + ∫ net(x(t), t, c) dt

    ``evaluations`` counts the calls of the network during the last solution, forward and (with an adjoint, once
    ``backward`` has run) backward.

    Args:
        network: Drift, called as net(x (N, *event), t (N,)) or net(x, t, context); it keeps the shape of x.
        solver: ``Adaptive(...)`` or ``FixedSteps(...)``, with ``adjoint=True`` for gradients of constant memory.
        t0: Time of the start.
        t1: Time of the end; it may be earlier.

    Raises:
        ArgumentError: The times are equal or not finite.

    References:
        Chen, Rubanova, Bettencourt & Duvenaud, Neural ordinary differential equations, NeurIPS 2018.

    Example:
        >>> class Decay(nn.Module):
        ...     def forward(self, x, t):
        ...         return -x
        >>> ode = NeuralODE(Decay(), Adaptive(1e-6, 1e-6))
        >>> x = torch.ones(2, 3)
        >>> ode(x).shape, ode(x, at=[0.0, 0.5, 1.0]).shape, ode.evaluations.forward > 0
        (torch.Size([2, 3]), torch.Size([3, 2, 3]), True)
    """

    def __init__(
        self, network: nn.Module, solver: ODESolver = Adaptive(), t0: float = 0.0, t1: float = 1.0
    ) -> None:
        super().__init__()
        self.network, self.solver = network, solver
        self.t0, self.t1 = check_times((t0, t1))
        self.evaluations = Evaluations()

    def forward(
        self, x: Tensor, context: Tensor | None = None, *, at: Sequence[float] | None = None
    ) -> Tensor:
        """Solve the ODE.

        Args:
            x: State at t0, (N, *event).
            context: Context, (N, C), or None.
            at: Times at which to report the state, sorted in the direction of integration, which ends at the last.

        Returns:
            The state at t1, (N, *event), or with ``at`` the trajectory, (K, N, *event).

        Raises:
            EmptyDataError, DTypeError: There is no state, or it is not real.
            ArgumentError: Times are not sorted, or begin before t0.
            ShapeError: The network does not keep the shape of x.
            DivergedError: The solution is not finite, or out of reach of the solver.
        """
        if x.dim() == 0 or x.numel() == 0:
            raise EmptyDataError(program="NeuralODE", got=tuple(x.shape), expected="(N, *event) with N ≥ 1")
        if not x.is_floating_point():
            raise DTypeError(program="NeuralODE", site="x", got=x.dtype, expected="float32 or float64")
        refuse_non_finite(x)
        stops = (self.t1,) if at is None else tuple(float(t) for t in at)
        begins = stops[:1] == (self.t0,)
        field = drift_field(self.network, context)
        if begins and len(stops) == 1:
            return x.unsqueeze(0)
        times = check_times(stops if begins else (self.t0, *stops))
        wanted = [p for p in (*self.network.parameters(), context) if p is not None and p.requires_grad]
        path = self.solver.path(field, x, times, wanted, self.evaluations)
        assert isinstance(path, torch.Tensor)
        return path[-1] if at is None else path if begins else path[1:]

    def extra_repr(self) -> str:
        """Say the interval and the solver."""
        return f"t0={self.t0:g}, t1={self.t1:g}, solver={self.solver}"
