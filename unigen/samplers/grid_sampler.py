"""What every sampler that walks down a grid of times shares: the grid, the levels of noise on it, and the walk.

Notation: z_t = alpha_t u + sigma_t eps in unit coordinates (`unigen.dynamics.denoiser`); u_hat and eps_hat are the
network's conditional means at (z_t, t). A step goes from the level t to the next level s < t.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unigen.dynamics.denoiser import Denoiser, denoiser_of
from unigen.dynamics.time_of_snr import time_of
from unigen.errors import ArgumentError, NonFiniteError
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.samplers.grids import EqualTimes, Grid, as_grid
from unigen.samplers.sampler import Sampler


class Level(NamedTuple):
    """A time and what the schedule says there, computed in float64.

    Args:
        time: t, (), in the type of the state.
        alpha: Signal level.
        sigma: Noise level.
        half_log_snr: λ = log (alpha / sigma).
    """

    time: Tensor
    alpha: float
    sigma: float
    half_log_snr: float


class Trajectory(NamedTuple):
    """A walk from noise to data.

    Args:
        times: Grid, decreasing from 1, (K + 1,).
        states: z at those times in unit coordinates, (K + 1, n, *event); divide by alpha for the data's scale.
        draws: Data at the end, (n, *event).
    """

    times: Tensor
    states: Tensor
    draws: Tensor


@dataclass
class Walk:
    """One walk of n states: where it stops, what it asks, and what a step leaves for the next.

    Args:
        denoiser: Predicts u and eps.
        context: Context, (n, C), or None.
        levels: K + 1 levels.
        memory: Of the sampler.
    """

    denoiser: Denoiser
    context: Tensor | None
    levels: list[Level]
    memory: Any = None

    def predict(self, z: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """u_hat and eps_hat at a level, each (n, *event): one evaluation of the network."""
        return self.denoiser(z, level.time, self.context)

    def at_snr(self, half_log_snr: list[float]) -> list[Level]:
        """Levels at given λ, of the schedule."""
        times = time_of(self.denoiser.schedule, 2.0 * torch.tensor(half_log_snr, dtype=torch.float64))
        return levels_at(self.denoiser, times)


@torch.no_grad()
def levels_at(denoiser: Denoiser, times: Tensor) -> list[Level]:
    """The levels of noise at times (K,), float64."""
    schedule, times = denoiser.schedule, times.to(denoiser.loc.device)
    log_alpha, sigma = schedule.log_alpha(times), schedule.sigma(times)
    columns = (torch.exp(log_alpha), sigma, log_alpha - torch.log(sigma))
    rows = zip(*(column.expand_as(times).tolist() for column in columns), strict=True)
    return [Level(t, *row) for t, row in zip(times.to(denoiser.loc.dtype).unbind(), rows, strict=True)]


class GridSampler(Sampler):
    """Walks from N(0, I) at t = 1 down a grid of times to the data; subclasses know a step.

    Args:
        steps: K.
        times: Where to stop: a grid, or the K + 1 times.
        denoise: End with the denoiser's mean (one evaluation more) instead of the last noisy state over alpha.
        progress: Called with (steps begun, steps).

    Raises:
        ArgumentError: There is no step, or the times are not a grid.
    """

    def __init__(
        self,
        steps: int,
        times: Grid | Sequence[float] | Tensor = EqualTimes(),
        denoise: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ArgumentError(
                program=type(self).__name__, site="steps", got=steps, expected="an integer, at least 1"
            )
        self.steps, self.times, self.denoise, self.progress = steps, as_grid(times), denoise, progress

    @abstractmethod
    def step(self, walk: Walk, z: Tensor, i: int) -> Tensor:
        """One step down.

        Args:
            walk: The walk.
            z: State at ``walk.levels[i]``, (n, *event).
            i: Number of the step.

        Returns:
            State at ``walk.levels[i + 1]``, (n, *event).
        """

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return n draws, shape (n, *event_shape).

        Raises:
            ArgumentError: The program has no denoiser, or the times do not fit it.
            NonFiniteError: The walk left the finite numbers.
        """
        return self.push(program, self._noise(program, n), context)

    def push(self, program: Program, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Map given noise at t = 1 to data; a fixed map where the sampler is deterministic.

        Args:
            program: A program with a denoiser.
            z: Noise, (n, *event_shape).
            context: Context, (n, C) or (1, C), or None.

        Returns:
            Data, (n, *event_shape).

        Raises:
            ArgumentError: The program has no denoiser, or the times do not fit it.
            NonFiniteError: The walk left the finite numbers.
        """
        walk = self._walk(program, z, context)
        for i in range(self.steps):
            z = self._told(walk, z, i)
        return self._end(walk, z)

    def trajectory(
        self, program: Program, n: int, context: Tensor | None = None, *, seed: int | None = None
    ) -> Trajectory:
        """Return the states at every time of the grid, and the draws that they end in.

        Args:
            program: A program with a denoiser.
            n: Number of draws.
            context: Context, (n, C) or (1, C), or None.
            seed: Reproduces the walk; ``program.sample`` with this sampler and seed gives the same draws.

        Raises:
            ArgumentError: The program has no denoiser, or the times do not fit it.
            NonFiniteError: The walk left the finite numbers.
        """
        with evaluating(program), seeded(seed, program.device), torch.no_grad():
            states = [self._noise(program, n)]
            walk = self._walk(program, states[0], context)
            for i in range(self.steps):
                states.append(self._told(walk, states[-1], i))
            times = torch.stack([level.time for level in walk.levels])
            return Trajectory(times, torch.stack(states), self._end(walk, states[-1]))

    def _noise(self, program: Program, n: int) -> Tensor:
        loc = denoiser_of(program).loc
        return torch.randn(n, *loc.shape, dtype=loc.dtype, device=loc.device)

    def _walk(self, program: Program, z: Tensor, context: Tensor | None) -> Walk:
        denoiser = denoiser_of(program)
        c = None if context is None else context.expand(z.shape[0], context.shape[-1])
        times = self.times.times(self.steps, denoiser.schedule, denoiser.start)
        return Walk(denoiser, c, levels_at(denoiser, times))

    def _told(self, walk: Walk, z: Tensor, i: int) -> Tensor:
        if self.progress is not None:
            self.progress(i, self.steps)
        return self.step(walk, z, i)

    def _end(self, walk: Walk, z: Tensor) -> Tensor:
        if self.progress is not None:
            self.progress(self.steps, self.steps)
        last = walk.levels[-1]
        u = walk.predict(z, last)[0] if self.denoise else z / last.alpha
        if not bool(torch.isfinite(u).all()):
            raise NonFiniteError(
                "the walk diverged", site="x", hint="more steps, or a network that was trained"
            )
        return walk.denoiser.from_unit(u)
