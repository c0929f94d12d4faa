"""A walk done again, to see where it left the finite numbers: only walks that diverge pay for their trajectory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from unigen.dynamics.trajectory import PartialTrajectory, finite_part


class Rerun:
    """The random state before a walk, so that the same walk can be had again.

    Args:
        device: Where the walk draws.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._cpu = device, torch.get_rng_state()
        self._own = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def partial(self, times: Tensor, z: Tensor, states: Iterable[Tensor]) -> PartialTrajectory:
        """The walk up to its last finite state, leaving the random state as it is.

        Args:
            times: All its times, (K + 1,).
            z: Its start, (n, *event).
            states: The states that follow, computed as they are asked for.
        """
        with torch.random.fork_rng(devices=[] if self._own is None else [self._device]), torch.no_grad():
            torch.set_rng_state(self._cpu)
            if self._own is not None:
                torch.cuda.set_rng_state(self._own, self._device)
            return finite_part(times, _all(z, states))


def _all(z: Tensor, states: Iterable[Tensor]) -> Iterator[Tensor]:
    yield z
    yield from states
