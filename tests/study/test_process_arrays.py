"""A process read back from arrays is the process that was written, through a file without objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unigen.evaluate.process_record import IMPLICIT, Process, Step, even_times
from unigen.study.process_arrays import from_arrays, to_arrays

ODE = Process(
    even_times(1), (torch.ones(2, 3),) * 2, Step.ODE, (torch.zeros(2, 3),) * 2, Step.ODE, "A curve."
)
SDE = Process(
    even_times(2), tuple(torch.randn(2, 3) for _ in range(3)), Step.SDE, tuple(torch.randn(2, 3) for _ in range(3)),
    Step.SDE, "Noise – and “back”.", beside=ODE,
)  # fmt: skip
GAN = Process(
    even_times(1),
    (torch.randn(2, 5), torch.randn(2, 1, 4, 4)),
    Step.ONE_DETERMINISTIC,
    None,
    None,
    "",
    IMPLICIT,
)


def same(a: Process | None, b: Process | None) -> bool:
    if a is None or b is None:
        return a is b
    words = ("reverse_step", "forward_step", "text", "no_forward")
    pairs = [*zip(a.reverse, b.reverse, strict=True), *zip(a.forward or (), b.forward or (), strict=True)]
    return (
        all(getattr(a, word) == getattr(b, word) for word in words)
        and (a.forward is None) == (b.forward is None)
        and a.times.equal(b.times)
        and all(one.equal(two) for one, two in pairs)
        and same(a.beside, b.beside)
    )


@pytest.mark.parametrize("process", [ODE, SDE, GAN], ids=["ODE", "SDE", "GAN"])
def test_round_trip(process: Process, tmp_path: Path) -> None:
    arrays: dict[str, Any] = dict(to_arrays(process))
    np.savez(tmp_path / "a.npz", **arrays)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        found = from_arrays({name: file[name] for name in file.files})
    assert same(found, process) and isinstance(found.reverse_step if found else None, Step)


def test_no_process_among_the_arrays() -> None:
    assert from_arrays({}) is None and from_arrays({"draws": np.zeros(3)}) is None
