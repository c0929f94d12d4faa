"""What is kept of a trajectory that did not reach its end: the states as long as they were finite."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

CAPACITY = 64


class PartialTrajectory(NamedTuple):
    """A trajectory up to the last finite state; errors of samplers and solvers carry it as ``partial``.

    Args:
        times: From the start on, (K,).
        states: States at those times, (K, N, *event), or a tuple of such; finite.
    """

    times: Tensor
    states: Any


def finite(state: Any) -> bool:
    """Whether a tensor, or all of a tuple, is finite."""
    return all(bool(torch.isfinite(part).all()) for part in (state if isinstance(state, tuple) else (state,)))


def finite_part(times: Iterable[Tensor], states: Iterable[Any]) -> PartialTrajectory:
    """The states before the first that is not finite.

    Args:
        times: One for each state, each ().
        states: Tensors, (N, *event), or tuples; taken one by one and no further than needed. The first is kept anyway.

    Returns:
        Times and states so far.

    Example:
        >>> states = (torch.tensor([value]) for value in (1.0, 2.0, torch.inf))
        >>> finite_part(torch.linspace(1, 0, 3), states)
        PartialTrajectory(times=tensor([1.0000, 0.5000]), states=tensor([[1.],
                [2.]]))
    """
    kept: list[tuple[Tensor, Any]] = []
    for time, state in zip(times, states, strict=False):
        if kept and not finite(state):
            break
        kept.append((time, state))
    return _stacked(kept)


def _stacked(kept: list[tuple[Tensor, Any]]) -> PartialTrajectory:
    states = [state for _, state in kept]
    several = isinstance(states[0], tuple)
    joined = (
        tuple(torch.stack(parts) for parts in zip(*states, strict=True)) if several else torch.stack(states)
    )
    return PartialTrajectory(torch.stack([time for time, _ in kept]), joined)


class Recorder:
    """Keeps at most 64 of the states that a solver steps from, evenly thinned, and always the last.

    Args:
        time: Time of the start, ().
        state: State there: a tensor, or a tuple of tensors.
    """

    def __init__(self, time: Tensor, state: Any) -> None:
        self._last = time.detach(), _detached(state)
        self._kept, self._seen, self._every = [self._last], 1, 1

    def __call__(self, time: Tensor, state: Any, _: object = None) -> None:
        """Take note of a state before a step, as torchdiffeq reports it; a step tried again is no new state."""
        time = time.detach()
        if float(time) == float(self._last[0]):
            return
        self._last = time, _detached(state)
        if self._seen % self._every == 0:
            self._kept.append(self._last)
        self._seen += 1
        if len(self._kept) >= CAPACITY:
            self._kept, self._every = self._kept[::2], 2 * self._every

    def partial(self) -> PartialTrajectory:
        """What was kept, up to the last finite state."""
        last = [] if self._kept[-1] is self._last else [self._last]
        kept = [*self._kept, *last]
        return finite_part((t for t, _ in kept), (x for _, x in kept))


def _detached(state: Any) -> Any:
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
