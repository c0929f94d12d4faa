"""States of any shape and times in either direction, for solvers that want two dimensions and increasing times.

A solver is given the number of the step as its time; the drift and diffusion of a step are scaled by that step's
length h and √|h|, which is exact for every method of fixed step, on any grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unigen.errors import ShapeError

Field = Callable[[Tensor, Tensor], Tensor]  # (t (), x (N, *event)) -> (N, *event)
NoiseField = Callable[[Tensor, Tensor], Tensor | float]


class Clock:
    """Increments of one step each, in units of the step; knows which step the solver is in.

    Args:
        motion: Gives increments over [k, k + 1] in step units, or over [t_a, t_b] when ``steps`` are given.
        total: Number of steps.
        progress: Called with (steps begun, total).
        times: Grid of a motion that lives in t rather than in step units.
    """

    def __init__(
        self, motion: Any, total: int, progress: Callable[[int, int], None] | None, times: list[float] | None
    ) -> None:
        self.motion, self.total, self.progress, self.times = motion, total, progress, times
        self.shape, self.levy_area_approximation = motion.shape, motion.levy_area_approximation
        self.step = 0

    def __call__(self, ta: Tensor | float, tb: Tensor | float, **areas: bool) -> Any:
        """Increment over the step that starts at ta."""
        self.step = int(ta)
        if self.progress is not None:
            self.progress(self.step, self.total)
        if self.times is None:
            return self.motion(ta, tb, **areas)
        a, b = self.times[self.step], self.times[self.step + 1]
        forward = self.motion(min(a, b), max(a, b)) * (1.0 / math.sqrt(abs(b - a)))
        return forward if b > a else -forward


class Stepped(nn.Module):
    """A drift and a diffusion as torchsde wants them: two-dimensional states, the number of the step as time."""

    noise_type = "diagonal"

    def __init__(
        self, drift: Field, diffusion: NoiseField, times: Tensor, event: torch.Size, sde_type: str
    ) -> None:
        super().__init__()
        self.sde_type = sde_type
        self._drift, self._diffusion, self._event = drift, diffusion, event
        self._starts = times.unbind()
        self._lengths = torch.diff(times.double()).tolist()
        self._roots = [math.sqrt(abs(length)) for length in self._lengths]
        self.clock: Clock | None = None

    def _locate(self, s: Tensor, y: Tensor) -> tuple[int, Tensor, Tensor]:
        """Step, time and state in the event's own shape."""
        step = self.clock.step if self.clock is not None else 0
        part = float(s) - step
        t = self._starts[step] if part == 0.0 else self._starts[step] + part * self._lengths[step]
        return step, t, y if len(self._event) == 1 else y.reshape(-1, *self._event)

    def f(self, s: Tensor, y: Tensor) -> Tensor:
        """Drift a step."""
        step, t, x = self._locate(s, y)
        return self._checked(self._drift(t, x), x) * self._lengths[step]

    def g(self, s: Tensor, y: Tensor) -> Tensor:
        """Diffusion a step."""
        step, t, x = self._locate(s, y)
        scale = torch.as_tensor(self._diffusion(t, x), dtype=y.dtype, device=y.device)
        return _diagonal(scale * self._roots[step], x).reshape(y.shape)

    def f_and_g_prod(self, s: Tensor, y: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Drift a step, and diffusion a step times v."""
        step, t, x = self._locate(s, y)
        noise = v if x is y else v.view(x.shape)
        scale = self._diffusion(t, x) * self._roots[step]
        scaled = noise * (_diagonal(scale, x) if isinstance(scale, Tensor) else scale)
        drift = self._checked(self._drift(t, x), x) * self._lengths[step]
        return drift, scaled if x is y else scaled.reshape(y.shape)

    def euler(self, y: Tensor, trajectory: bool = False) -> Tensor:
        """Flat states by Euler–Maruyama, (S, N, D), the last or all: torchsde's, without what each step costs there.

        Args:
            y: Start, (N, D).
            trajectory: Return the start and the state after every step.
        """
        assert self.clock is not None
        path = [y]
        for step, (h, root) in enumerate(zip(self._lengths, self._roots, strict=True)):
            noise = self.clock(step, step + 1)
            t, x = self._starts[step], y if len(self._event) == 1 else y.reshape(-1, *self._event)
            scale = self._diffusion(t, x)
            y = torch.add(y, self._checked(self._drift(t, x), x), alpha=h)
            if isinstance(scale, Tensor):
                y = y + (noise.view(x.shape) * _diagonal(scale * root, x)).view(y.shape)
            else:
                y = y.add_(noise, alpha=scale * root)
            if trajectory:
                path.append(y)
        return torch.stack(path) if trajectory else y.unsqueeze(0)

    def _checked(self, drift: Tensor, x: Tensor) -> Tensor:
        """The drift, flat, if it has the state's shape."""
        if drift.shape != x.shape:
            raise ShapeError(
                "a drift must have the shape of the state", got=tuple(drift.shape), expected=tuple(x.shape)
            )
        return drift if drift.dim() == 2 else drift.reshape(x.shape[0], -1)


def _diagonal(scale: Tensor, x: Tensor) -> Tensor:
    """The noise scale for every coordinate of the state, or a refusal."""
    try:
        return scale.expand_as(x)
    except RuntimeError as error:
        raise ShapeError(
            "every method takes noise that is diagonal in the coordinates of the state", site="diffusion",
            got=tuple(scale.shape), expected=f"a number, or what broadcasts with {tuple(x.shape)}",
            hint="one Brownian motion a coordinate; noise that mixes coordinates is not solved here",
        ) from error  # fmt: skip
