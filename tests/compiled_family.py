"""A family trained by compiled steps beside the same family trained eagerly, from the same seed."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch

import unigen as ug
from unigen.program import Program


def compiled_equals_eager(build: Callable[[], Program], rows: int = 12, steps: int = 3) -> None:
    """Assert that steps traced with a symbolic batch size move the parameters as eager steps do.

    Use it under the fixture ``interpreted_steps``.
    """
    program = build()
    x, twin = program.sample(rows, seed=0), copy.deepcopy(program)
    options = {"steps": steps, "batch_size": rows // 2, "seed": 1, "progress": False, "ema": None}
    record = ug.fit(program, x, compile=True, **options)
    assert record.compiled, record.notes
    ug.fit(twin, x, compile=False, **options)
    for (name, a), b in zip(program.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
