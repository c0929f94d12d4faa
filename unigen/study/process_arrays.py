"""A process as arrays beside a program, and back: what the report draws without fitting or drawing anything again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from unigen.evaluate.process_record import Process, Step

BESIDE = "beside_"


def to_arrays(process: Process) -> dict[str, np.ndarray]:
    """Return states, times, kinds of step and sentences as arrays without objects.

    Args:
        process: The process; one beside it comes along.

    Returns:
        Arrays by name, as ``np.savez`` takes them.
    """
    words = (process.reverse_step, process.forward_step or "", process.text, process.no_forward or "")
    arrays = {"times": process.times.numpy(), "words": np.array(words)}
    arrays |= {f"reverse_{k}": state.cpu().numpy() for k, state in enumerate(process.reverse)}
    arrays |= {f"forward_{k}": state.cpu().numpy() for k, state in enumerate(process.forward or ())}
    if process.beside is not None:
        arrays |= {BESIDE + name: array for name, array in to_arrays(process.beside).items()}
    return arrays


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Process | None:
    """Return the process that ``to_arrays`` has written, or None where there is none among the arrays."""
    if "words" not in arrays:
        return None
    back, there, text, no_forward = map(str, arrays["words"])
    times = torch.from_numpy(arrays["times"])

    def states(way: str) -> tuple[torch.Tensor, ...]:
        return tuple(torch.from_numpy(arrays[f"{way}_{k}"]) for k in range(times.shape[0]))

    beside = {name.removeprefix(BESIDE): array for name, array in arrays.items() if name.startswith(BESIDE)}
    return Process(
        times, states("reverse"), Step(back), states("forward") if there else None, Step(there) if there else None,
        text, no_forward or None, from_arrays(beside),
    )  # fmt: skip
