"""Controlled SDEs with the KL of their path against the uncontrolled one, by torchsde.

    q:  dz = (f + g u) dt + g dW,      p:  dz = f dt + g dW,      KL(q ‖ p) = E ½ ∫ ‖u‖² dt      (Girsanov)

The integral rides along as one more coordinate of the state (torchsde's ``logqp``), so that it has the solver's
order, and its gradient may come from the adjoint SDE, whose memory does not depend on the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unigen.dynamics.ode_solver import check_times
from unigen.dynamics.solvers import brownian_motion, solve_stepped
from unigen.dynamics.stepping import Clock, Field, NoiseField, Stepped
from unigen.errors import ArgumentError, DivergedError, ShapeError

ITO = ("euler", "milstein", "srk")
STRATONOVICH = ("heun", "midpoint", "euler_heun", "reversible_heun")


class Controlled(Stepped):
    """Prior drift h, posterior drift f = h + g u and diffusion g as torchsde's ``logqp`` wants them."""

    def __init__(
        self,
        drift: Field,
        control: Field,
        diffusion: NoiseField,
        times: Tensor,
        event: torch.Size,
        sde_type: str,
    ) -> None:
        super().__init__(drift, diffusion, times, event, sde_type)
        self._control = control

    def h(self, s: Tensor, y: Tensor) -> Tensor:
        """Prior drift a step."""
        return super().f(s, y)

    def f(self, s: Tensor, y: Tensor) -> Tensor:
        """Posterior drift a step."""
        step, t, x = self._locate(s, y)
        return self.h(s, y) + self.g(s, y) * self._control(t, x) * self._roots[step]


def check_noise(method: str, diffusion: NoiseField, t: Tensor, x: Tensor, adjoint: bool) -> None:
    """Refuse a method that does not fit the noise.

    Args:
        method: Of the solver.
        diffusion: g, a function (t, x) -> number or tensor.
        t: A time, ().
        x: A state to try it on, (N, L).
        adjoint: Whether gradients come from the adjoint SDE.

    Raises:
        ArgumentError: An unknown method; one that reads the integral in Stratonovich's sense though the noise
            depends on the state; or one that wants each coordinate's noise to depend on that coordinate alone,
            though it does not.
    """
    if method not in ITO + STRATONOVICH:
        raise ArgumentError(
            "unknown SDE method", site="method", got=method, expected=" | ".join(ITO + STRATONOVICH)
        )
    with torch.enable_grad():
        at = x[:4].detach().requires_grad_(True)
        g = torch.as_tensor(diffusion(t, at))
        if not g.requires_grad or g.shape != at.shape:
            return
        rows = [
            torch.autograd.grad(g[:, i].sum(), at, retain_graph=True, allow_unused=True)[0]
            for i in range(at.shape[1])
        ]
    slopes = torch.stack(
        [torch.zeros_like(at) if row is None else row for row in rows], 1
    )  # (n, i, j): dg_i / dx_j
    if method in STRATONOVICH and bool((slopes != 0).any()):
        raise ArgumentError(
            f"'{method}' reads the integral in Stratonovich's sense, and the noise depends on the state",
            site="method", got=method, expected="additive noise, or an Itô method", hint="method='euler'",
        )  # fmt: skip
    mixed = bool((slopes - torch.diag_embed(slopes.diagonal(dim1=1, dim2=2)) != 0).any())
    if mixed and (adjoint or method != "euler"):
        what = "the adjoint" if adjoint else f"'{method}'"
        raise ArgumentError(
            f"{what} wants the noise of each coordinate of z to depend on that coordinate alone", site="method",
            got="a diffusion that mixes coordinates", hint="method='euler' without adjoint, or DiagonalNoise",
        )  # fmt: skip


def integrate_with_kl(
    drift: Field,
    control: Field,
    diffusion: NoiseField,
    x: Tensor,
    times: Sequence[float],
    stops: Sequence[int] | None = None,
    method: str = "euler",
    *,
    adjoint: Sequence[Tensor] | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Solve dz = (f + g u) dt + g dW, one step an interval of the grid, and integrate ½ ‖u‖² along the path.

    Args:
        drift: f, a function (t (), z (N, L)) -> (N, L).
        control: u, likewise.
        diffusion: g, diagonal, a function (t, z) -> a number, or anything that broadcasts with z.
        x: Start, (N, L), at ``times[0]``.
        times: Increasing grid, K + 1 numbers.
        stops: Indices of the grid, increasing from 0 to K, where the state is reported; all if omitted.
        method: ``euler``, ``milstein`` or ``srk`` (Itô); ``heun``, ``midpoint``, ``euler_heun`` or ``reversible_heun``
            where the noise does not depend on the state.
        adjoint: Every tensor that f, u and g depend on and whose gradient is wanted: gradients then come from the
            adjoint SDE. Otherwise they go through the solver's steps.
        generator: Seeds the Brownian motion; torch's global one by default.
        progress: Called with (steps begun, K).

    Returns:
        States at the stops, (S, N, L), and ½ ∫ ‖u‖² dt of each path in nats, (N,).

    Raises:
        ArgumentError: Times that do not increase, an unknown method, or one that does not fit the noise.
        ShapeError: The state is not (N, L), or f or u has another shape.
        DivergedError: A path is no longer finite.

    References:
        Li, Wong, Chen & Duvenaud, Scalable gradients for stochastic differential equations, 2020.

    Example:
        >>> f, u, g = (lambda t, z: -z), (lambda t, z: torch.ones_like(z)), (lambda t, z: 0.5)
        >>> path, kl = integrate_with_kl(f, u, g, torch.zeros(3, 1), [0.0, 0.5, 1.0, 1.5, 2.0])
        >>> path.shape, kl
        (torch.Size([5, 3, 1]), tensor([1., 1., 1.]))
    """
    values = check_times(times)
    if values[0] > values[-1]:
        raise ArgumentError(
            "a path KL is integrated forward", site="times", got="decreasing", expected="increasing"
        )
    if x.dim() != 2 or x.numel() == 0:
        raise ShapeError(site="x", got=tuple(x.shape), expected="(N, L), N ≥ 1")
    grid = torch.tensor(values, dtype=x.dtype, device=x.device)
    check_noise(method, diffusion, grid[0], x, adjoint is not None)
    steps = len(values) - 1
    sde = Controlled(
        drift, control, diffusion, grid, x.shape[1:], "stratonovich" if method in STRATONOVICH else "ito"
    )
    size = (x.shape[0], x.shape[1] + 1)  # a coordinate more, for the integral, whose noise is zero
    sde.clock = Clock(brownian_motion(method, True, size, steps, x, generator), steps, progress, None)
    index = torch.arange(steps + 1) if stops is None else torch.tensor(stops)
    wanted = None if adjoint is None else tuple(p for p in adjoint if p.requires_grad)
    path, kl = solve_stepped(sde, x, index.to(x.device, x.dtype), method, wanted, logqp=True)
    total = kl.sum(0)
    if not bool(torch.isfinite(path[-1]).all() & torch.isfinite(total).all()):
        raise DivergedError(
            "a path of the SDE is no longer finite", hint="a smaller dt, or a drift that grows more slowly"
        )
    return path, total
