"""What every sampler that walks down a grid of times shares: the grid, the walk, its trajectory and its end.

Notation as in `unigen.samplers.walk`. A step goes from the level t to the next level s < t.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unigen.dynamics.denoiser import denoiser_of
from unigen.dynamics.trajectory import PartialTrajectory, finite_part
from unigen.errors import ArgumentError, NonFiniteError
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.samplers.grids import EqualTimes, Grid, as_grid
from unigen.samplers.progress import Progress, Told, check_progress, telling
from unigen.samplers.rerun import Rerun
from unigen.samplers.sampler import Sampler
from unigen.samplers.walk import Walk


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


class GridSampler(Sampler):
    """Walks from N(0, I) at t = 1 down a grid of times to the data; subclasses know a step.

    Args:
        steps: K.
        times: Where to stop: a grid, or the K + 1 times.
        denoise: End with the denoiser's mean (one evaluation more) instead of the last noisy state over alpha.
        progress: Called with (steps begun, steps); True: a bar; "auto": a bar on a terminal, for walks over a second.

    Raises:
        ArgumentError: There is no step, or the times are not a grid.
    """

    def __init__(
        self,
        steps: int,
        times: Grid | Sequence[float] | Tensor = EqualTimes(),
        denoise: bool = False,
        progress: Progress = "auto",
    ) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ArgumentError(
                program=type(self).__name__, site="steps", got=steps, expected="an integer, at least 1"
            )
        self.steps, self.times, self.denoise = steps, as_grid(times), denoise
        self.progress = check_progress(progress, type(self).__name__)

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
            NonFiniteError: The walk left the finite numbers; ``partial`` has its states so far.
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
            NonFiniteError: The walk left the finite numbers; ``partial`` has its states so far.
        """
        walk, rerun, end = self._walk(program, z, context), Rerun(z.device), z
        with telling(self.progress, type(self).__name__) as tell:
            for end in self.states(walk, z, tell):  # noqa: B007
                pass
        return self._end(walk, end, lambda: self._partial(rerun, walk, z))

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
            NonFiniteError: The walk left the finite numbers; ``partial`` has its states so far.
        """
        with evaluating(program), seeded(seed, program.device), torch.no_grad():
            z = self._noise(program, n)
            walk = self._walk(program, z, context)
            with telling(self.progress, type(self).__name__) as tell:
                states = [z, *self.states(walk, z, tell, keep=True)]
            times = self._times(walk)
            draws = self._end(walk, states[-1], lambda: finite_part(times, states))
            return Trajectory(times, torch.stack(states), draws)

    def states(
        self, walk: Walk, z: Tensor, tell: Told | None = None, *, keep: bool = False
    ) -> Iterator[Tensor]:
        """The states of a walk one after the other; the last of them is its end.

        Args:
            walk: The walk.
            z: State at its first level, (n, *event), which is not repeated.
            tell: Called with (steps begun, steps), or None.
            keep: All of them, one a step, rather than perhaps the last only.
        """
        for i in range(self.steps):
            if tell is not None:
                tell(i, self.steps)
            z = self.step(walk, z, i)
            yield z
        if tell is not None:
            tell(self.steps, self.steps)

    def _noise(self, program: Program, n: int) -> Tensor:
        loc = denoiser_of(program).loc
        return torch.randn(n, *loc.shape, dtype=loc.dtype, device=loc.device)

    def _walk(self, program: Program, z: Tensor, context: Tensor | None) -> Walk:
        denoiser = denoiser_of(program)
        c = None if context is None else context.expand(z.shape[0], context.shape[-1])
        times = self.times.times(self.steps, denoiser.schedule, denoiser.start)
        return Walk(denoiser, c, times, z.shape[0])

    def _times(self, walk: Walk) -> Tensor:
        return torch.stack([level.time for level in walk.levels])

    def _partial(self, rerun: Rerun, walk: Walk, z: Tensor) -> PartialTrajectory:
        return rerun.partial(self._times(walk), z, self.states(walk, z, keep=True))

    def _end(self, walk: Walk, z: Tensor, partial: Callable[[], PartialTrajectory]) -> Tensor:
        last = walk.levels[-1]
        u = walk.data(z, last) if self.denoise else z / last.alpha
        if not bool(torch.isfinite(u).all()):
            raise NonFiniteError(
                "the walk diverged",
                site="x",
                hint="more steps, or a network that was trained",
                partial=partial(),
            )
        return walk.denoiser.from_unit(u)
