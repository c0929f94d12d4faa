"""SDE and ODE solvers behind two functions; the only imports of torchsde and torchdiffeq.

What torchsde wants of a state and of times is hidden by `stepping.py`. torchdiffeq's tolerances are always explicit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torchdiffeq
import torchsde
from torch import Tensor

from unigen.dynamics.brownian import FreshIncrements
from unigen.dynamics.evaluations import Counted, Evaluations
from unigen.dynamics.stepping import Clock, Field, NoiseField, Stepped
from unigen.dynamics.trajectory import Recorder, finite
from unigen.errors import ArgumentError, DivergedError, DTypeError, EmptyDataError

_ITO = ("euler", "milstein", "srk")
_STRATONOVICH = ("heun", "midpoint", "euler_heun", "reversible_heun")
_ADAPTIVE = ("dopri5", "dopri8", "bosh3")
_ODE = (*_ADAPTIVE, "euler", "midpoint", "heun2", "heun3", "rk4")


def _grid(times: Tensor | Sequence[float], x: Tensor) -> Tensor:
    """Times as a strictly monotone grid in the type and on the device of x, or a refusal."""
    if not x.is_floating_point():
        raise DTypeError("a state must be real", got=x.dtype, expected="float32 or float64")
    if x.dim() == 0 or x.numel() == 0:
        raise EmptyDataError("no state to integrate", got=tuple(x.shape), expected="(N, *event) with N >= 1")
    grid = torch.as_tensor(times, dtype=x.dtype, device=x.device)
    if grid.dim() != 1 or grid.shape[0] < 2:
        raise ArgumentError(
            "a time grid needs a start and an end", got=tuple(grid.shape), expected="(K + 1,), K >= 1"
        )
    gaps = torch.diff(grid)
    if not bool(torch.isfinite(grid).all() & ((gaps > 0).all() | (gaps < 0).all())):
        raise ArgumentError("times must be finite and strictly increasing or decreasing", site="times")
    return grid


def brownian_motion(
    method: str, remember: bool, size: tuple[int, int], steps: int, x: Tensor, generator: Any
) -> Any:
    """Fresh increments going forward; a remembering interval, seeded from torch, for SRK, adjoints and path KLs."""
    if method != "srk" and not remember:
        return FreshIncrements(size, x.dtype, x.device, generator)
    seed = int(
        torch.randint(2**31 - 1, (), generator=generator, device=generator.device if generator else "cpu")
    )
    area = "space-time" if method == "srk" else "none"
    return torchsde.BrownianInterval(
        t0=0.0, t1=float(steps), size=size, dtype=x.dtype, device=x.device, entropy=seed, dt=1.0,
        levy_area_approximation=area,
    )  # fmt: skip


def integrate_sde(
    drift: Field,
    diffusion: NoiseField,
    x: Tensor,
    times: Tensor | Sequence[float],
    method: str = "euler",
    *,
    trajectory: bool = False,
    brownian: Any = None,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
    adjoint: Sequence[Tensor] | None = None,
    stratonovich: bool = False,
) -> Tensor:
    """Solve dx = drift(t, x) dt + diffusion(t, x) dW along a grid of times, one step an interval.

    Args:
        drift: dx/dt, a function (t (), x (N, *event)) -> (N, *event); with decreasing times dt is negative.
        diffusion: Diagonal noise scale, a function (t, x) -> a number, or anything that broadcasts with x.
        x: Start, (N, *event), at ``times[0]``.
        times: Strictly monotone grid (K + 1,); decreasing times solve a reversed SDE.
        method: ``euler``, ``milstein`` or ``srk`` (Itô); ``heun``, ``midpoint``, ``euler_heun`` or ``reversible_heun``
            (Stratonovich: the same thing where the diffusion does not depend on the state).
        trajectory: Return the state at every time.
        brownian: A Brownian motion over t, called as ``brownian(t_a, t_b)``; fresh increments by default.
        generator: Source of randomness of the fresh increments; torch's global one by default.
        progress: Called with (steps begun, K) at each step and with (K, K) at the end.
        adjoint: Parameters to differentiate by the adjoint method; otherwise gradients go through the solver's steps.
        stratonovich: The diffusion depends on the state and the integral is meant in Stratonovich's sense.

    Returns:
        The end state (N, *event), or the trajectory (K + 1, N, *event).

    Raises:
        ArgumentError: The grid is not monotone, the method is unknown, or it reads the integral in another sense.
        ShapeError: The drift does not have the shape of the state, or the noise is not diagonal.

    Example:
        >>> from unigen.dynamics.solvers import integrate_sde
        >>> x = torch.zeros(20_000, 1)
        >>> end = integrate_sde(lambda t, x: -x, lambda t, x: 1.0, x, torch.linspace(0, 2, 65))
        >>> bool((end.var() - 0.5).abs() < 0.03)  # Ornstein-Uhlenbeck: (1 - exp(-4)) / 2
        True
    """
    grid = _grid(times, x)
    if method not in _ITO + _STRATONOVICH:
        raise ArgumentError("unknown SDE method", got=method, expected=" | ".join(_ITO + _STRATONOVICH))
    if stratonovich != (method in _STRATONOVICH) and torch.as_tensor(diffusion(grid[0], x)).numel() > 1:
        sense = "Stratonovich" if method in _STRATONOVICH else "Itô"
        raise ArgumentError(
            f"'{method}' reads the integral in the {sense} sense, which matters where the noise depends on the state",
            hint="method='milstein' for Itô, or stratonovich=True with method='heun'",
        )  # fmt: skip
    if method == "srk" and brownian is not None:
        raise ArgumentError(
            "'srk' draws a Brownian motion of its own", site="brownian", hint="method='milstein'"
        )
    steps, flat = grid.shape[0] - 1, x.reshape(x.shape[0], -1)
    motion = brownian
    if motion is None:
        size = (flat.shape[0], flat.shape[1])
        motion = brownian_motion(method, adjoint is not None, size, steps, x, generator)
    sde = Stepped(drift, diffusion, grid, x.shape[1:], "stratonovich" if method in _STRATONOVICH else "ito")
    sde.clock = Clock(motion, steps, progress, None if brownian is None else grid.double().tolist())
    if method == "euler" and adjoint is None:
        path = sde.euler(flat, trajectory)
    else:
        stops = torch.arange(steps + 1, dtype=x.dtype, device="cpu" if adjoint is None else x.device)
        path = solve_stepped(sde, flat, stops if trajectory else stops[::steps], method, adjoint)
    if progress is not None:
        progress(steps, steps)
    return path.reshape(-1, *x.shape) if trajectory else path[-1].reshape(x.shape)


def solve_stepped(
    sde: Stepped, x: Tensor, stops: Tensor, method: str, adjoint: Sequence[Tensor] | None, logqp: bool = False
) -> Any:
    """Flat states at the stops, (S, N, D), a step a unit of time; with ``logqp`` also the path KL between stops."""
    settings: dict[str, Any] = {"bm": sde.clock, "method": method, "dt": 1.0, "logqp": logqp}
    if method == "milstein":
        settings["options"] = {"grad_free": True}  # finite differences of the noise, no autograd
    if adjoint is None:
        return torchsde.sdeint(sde, x, stops, **settings)
    return torchsde.sdeint_adjoint(sde, x, stops, adjoint_params=tuple(adjoint), **settings)  # pyright: ignore


@dataclass(frozen=True)
class ODESolution:
    """Where an ODE ended and what it cost.

    Args:
        value: State at the end, or at each time asked for.
        evaluations: Number of calls of the right-hand side (the adjoint's not counted).
    """

    value: Any
    evaluations: int


def integrate_ode(
    f: Callable[[Tensor, Any], Any],
    x: Any,
    t0: float,
    t1: float,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    method: str = "dopri5",
    options: dict[str, Any] | None = None,
    *,
    at: Sequence[float] | None = None,
    adjoint: Sequence[Tensor] | None = None,
    count: Evaluations | None = None,
    max_evaluations: int | None = None,
) -> ODESolution:
    """Solve dx/dt = f(t, x) from t0 to t1, in either direction.

    Args:
        f: Right-hand side, a function (t (), x) -> like x.
        x: Start: a tensor of any shape, or a tuple of tensors.
        t0: Time of the start.
        t1: Time of the end.
        rtol: Relative error a step, ignored by methods of fixed step.
        atol: Absolute error a step, ignored by methods of fixed step.
        method: ``dopri5``, ``dopri8`` or ``bosh3``; of fixed step (give ``options={"step_size": h}``): ``euler``,
            ``midpoint``, ``heun2``, ``heun3``, ``rk4``.
        options: Options of the method.
        at: Times from t0 to t1 at which to report the state.
        adjoint: Parameters to differentiate by the adjoint method; otherwise gradients go through the solver's steps.
        count: Where evaluations are counted, those of the adjoint's backward pass too, once it has run.
        max_evaluations: Give up after so many in one direction.

    Returns:
        The solution: ``value`` like x (with ``at``: a leading dimension over those times), and ``evaluations``.

    Raises:
        ArgumentError: The method is unknown, a tolerance is not positive, or the times are equal or not monotone.
        DivergedError: The step size shrank to nothing, the evaluations ran out, or the state is no longer finite;
            its ``partial`` has up to 64 of the states so far.

    Example:
        >>> solution = integrate_ode(lambda t, x: -x, torch.ones(1, dtype=torch.float64), 0.0, 1.0, 1e-9, 1e-9)
        >>> round(float(solution.value), 8), solution.evaluations > 10
        (0.36787944, True)
    """
    if method not in _ODE:
        raise ArgumentError("unknown ODE method", got=method, expected=" | ".join(_ODE))
    if not (rtol > 0.0 and atol > 0.0):
        raise ArgumentError("tolerances must be positive", got=f"rtol={rtol}, atol={atol}", expected="> 0")
    state = x[0] if isinstance(x, tuple) else x
    times = _grid((t0, t1) if at is None else at, state)
    count = Evaluations() if count is None else count
    count.begin()
    counted = Counted(f, times, count, max_evaluations)
    recorder = Recorder(times[0], x)
    if adjoint is None:  # by which memory must not grow with the steps
        counted.callback_step = recorder
    # An adaptive method would step past the end and interpolate back: make it stop at every time asked for.
    options = {"step_t": times, **(options or {})} if method in _ADAPTIVE else options
    settings: dict[str, Any] = {"rtol": rtol, "atol": atol, "method": method, "options": options}
    try:
        if adjoint is None:
            path = torchdiffeq.odeint(counted, x, times, **settings)
        else:
            # The integrals of the parameters' gradients feed nothing back: they need not control the step size.
            back = {**options, "norm": "seminorm"} if options is not None and method in _ADAPTIVE else options
            path = torchdiffeq.odeint_adjoint(
                counted, x, times, adjoint_params=tuple(adjoint), adjoint_options=back, **settings
            )
    except AssertionError as error:
        raise DivergedError(
            f"the solver gave up: {error}", hint="larger tolerances, or float64", partial=recorder.partial()
        ) from error
    except DivergedError as error:
        error.partial = recorder.partial()
        raise
    counted.backward_pass = True  # whatever calls the right-hand side from now on is the adjoint
    if not finite(path):
        raise DivergedError(
            "the solution of the ODE is no longer finite",
            hint="more steps, smaller tolerances, float64, or inputs nearer to the data", partial=recorder.partial(),
        )  # fmt: skip
    last = (lambda part: part[-1]) if at is None else (lambda part: part)
    value = tuple(last(part) for part in path) if isinstance(path, tuple) else last(path)
    return ODESolution(value, count.forward)
