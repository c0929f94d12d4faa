"""Random states: after a restore every generator repeats itself, in this process and in a fresh one."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unigen.errors import CheckpointError
from unigen.inference.checkpoint import read_checkpoint, write_checkpoint
from unigen.inference.nested_state import flatten_state, unflatten_state
from unigen.inference.random_state import capture_random_state, restore_random_state

NUMPY = ("PCG64", "PCG64DXSM", "SFC64", "Philox", "MT19937")


def own_generators():
    numpy = {name: np.random.Generator(getattr(np.random, name)()) for name in NUMPY}
    return numpy | {"shuffle": torch.Generator(), "python": random.Random()}


def draw(own):
    """Return a digest of draws of every kind, odd in number so that half-used pairs of normals stay behind."""
    values = [
        torch.randn(1001).tolist(),
        torch.nn.functional.dropout(torch.ones(501), 0.5).tolist(),
        torch.randperm(17, generator=own["shuffle"]).tolist(),
        torch.randn(5, generator=own["shuffle"]).tolist(),
        np.random.normal(size=3).tolist() + np.random.rand(700).tolist(),
        [random.gauss(0, 1) for _ in range(3)] + [random.random() for _ in range(700)],
        [own["python"].gauss(0, 1), own["python"].random()],
        [own[name].integers(2**31, size=5, dtype="int32").tolist() for name in NUMPY],
        [own[name].normal(size=3).tolist() for name in NUMPY],
    ]
    return hashlib.sha256(repr(values).encode()).hexdigest()


def through_file(state, path):
    tensors, tree = flatten_state(state)
    loaded = read_checkpoint(write_checkpoint(path, tensors, {"tree": tree}))
    return unflatten_state(loaded.tensors, loaded.meta["tree"])


def test_every_generator_repeats_itself_after_a_file(tmp_path):
    own = own_generators()
    draw(own)  # leaves half a pair of normals in every generator that keeps one
    state = through_file(capture_random_state(own), tmp_path / "state")
    first, second = draw(own), draw(own)
    assert first != second
    restore_random_state(state, own)
    assert [draw(own), draw(own)] == [first, second]


def test_a_fresh_process_continues_bitwise(tmp_path):
    own = own_generators()
    draw(own)
    through_file(capture_random_state(own), tmp_path / "state")
    expected = draw(own)
    script = f"""
import runpy
test = runpy.run_path({__file__!r})
loaded = test["read_checkpoint"]({str(tmp_path / "state")!r})
own = test["own_generators"]()
state = test["unflatten_state"](loaded.tensors, loaded.meta["tree"])
test["restore_random_state"](state, own)
print(test["draw"](own))
"""
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root, "PYTHONHASHSEED": "random"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == expected, done.stderr


def test_capturing_draws_nothing_and_restoring_other_states_is_not_lazy():
    own = own_generators()
    state = capture_random_state(own)
    again = capture_random_state(own)
    assert torch.equal(state["torch"], again["torch"])
    first = draw(own)
    restore_random_state(state, own)
    assert draw(own) == first
    restore_random_state(again, own)
    assert draw(own) == first


def damage(state, name):
    if name == "torch size":
        state["torch"] = state["torch"][:-1]
    elif name == "torch type":
        state["torch"] = state["torch"].float()
    elif name == "torch content":
        state["torch"] = torch.zeros_like(state["torch"])
    elif name == "torch missing":
        del state["torch"]
    elif name == "python words":
        state["python"]["words"] = state["python"]["words"][:-1]
    elif name == "python missing":
        state["python"] = {}
    elif name == "numpy words":
        state["numpy"]["state"]["key"] = state["numpy"]["state"]["key"][:-1]
    elif name == "numpy kind":
        state["numpy"]["bit_generator"] = "PCG64"
    elif name == "own numpy":
        state["generators"]["PCG64"] = {"bit_generator": "PCG64"}
    elif name == "own torch":
        state["generators"]["shuffle"] = None
    elif name == "own kinds swapped":
        swapped = state["generators"]
        swapped["python"], swapped["shuffle"] = swapped["shuffle"], swapped["python"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torch size", "'torch'"),
        ("torch type", "'torch'"),
        ("torch content", "'torch'"),
        ("torch missing", "'torch'"),
        ("python words", "'python'"),
        ("python missing", "'python'"),
        ("numpy words", "'numpy'"),
        ("numpy kind", "'numpy'"),
        ("own numpy", "'PCG64'"),
        ("own torch", "'shuffle'"),
        ("own kinds swapped", "'(shuffle|python)'"),
    ],
)
def test_a_damaged_state_is_named_and_changes_nothing(name, words):
    own = own_generators()
    state = capture_random_state(own)
    draw(own)
    now = capture_random_state(own)
    expected = draw(own)
    restore_random_state(now, own)
    damage(state, name)
    with pytest.raises(CheckpointError, match=words):
        restore_random_state(state, own)
    assert draw(own) == expected


def test_other_generators_than_those_saved_are_refused_unless_told_otherwise():
    saved = {"shuffle": torch.Generator().manual_seed(3)}
    state = capture_random_state(saved)
    for others in ({}, {"noise": torch.Generator()}, saved | {"noise": torch.Generator()}):
        with pytest.raises(CheckpointError, match="strict=False"):
            restore_random_state(state, others)
    restore_random_state(state, saved | {"noise": torch.Generator()}, strict=False)
    with pytest.raises(CheckpointError, match="'x' is no random generator"):
        capture_random_state({"x": np.random})


@pytest.fixture
def two_devices(monkeypatch):
    """Two pretended CUDA devices, whose generators are the CPU's kind."""
    devices = [torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)]
    fake = SimpleNamespace(
        is_initialized=lambda: True,
        is_available=lambda: True,
        device_count=lambda: len(devices),
        init=lambda: None,
        get_rng_state_all=lambda: [device.get_state() for device in devices],
        default_generators=devices,
    )
    monkeypatch.setattr(torch, "cuda", fake)
    return devices


def test_the_states_of_all_devices_are_captured_and_restored(two_devices):
    state = capture_random_state()
    first = [torch.rand(3, generator=device) for device in two_devices]
    restore_random_state(state)
    assert all(torch.equal(torch.rand(3, generator=d), x) for d, x in zip(two_devices, first, strict=True))


def test_another_number_of_devices_is_refused_unless_told_otherwise(two_devices):
    state = capture_random_state()
    first = torch.rand(3, generator=two_devices[0])
    two_devices.pop()
    with pytest.raises(CheckpointError, match="got 1, expected 2"):
        restore_random_state(state)
    restore_random_state(state, strict=False)
    assert torch.equal(torch.rand(3, generator=two_devices[0]), first)


def test_a_run_on_devices_is_refused_where_there_are_none():
    state = capture_random_state() | {"cuda": [torch.zeros(16, dtype=torch.uint8)] * 99}
    with pytest.raises(CheckpointError, match="CUDA devices"):
        restore_random_state(state)
    restore_random_state(capture_random_state() | {"cuda": []})


@pytest.mark.device
def test_a_real_device_repeats_itself(tmp_path):
    torch.rand(1, device="cuda")
    state = through_file(capture_random_state(), tmp_path / "state")
    first = torch.randn(1000, device="cuda")
    restore_random_state(state)
    assert torch.equal(torch.randn(1000, device="cuda"), first)
