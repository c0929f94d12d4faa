"""Checkpoint files: exact round trips (safetensors is the oracle), and no damage that goes unseen."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import tempfile
import time
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.crash import flip_bits, memory_mark, memory_peak, same
from unigen.errors import CheckpointError
from unigen.inference.checkpoint import read_checkpoint, write_checkpoint
from unigen.inference.checkpoint_header import DTYPES
from unigen.inference.nested_state import flatten_state, unflatten_state


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.safetensors"


def of_bits(dtype, shape):
    octets = torch.randint(0, 256, (math.prod(shape) * dtype.itemsize,), dtype=torch.uint8)
    return (octets.gt(127) if dtype is torch.bool else octets.view(dtype)).reshape(shape)


@pytest.mark.parametrize("dtype", sorted(DTYPES.values(), key=str), ids=str)
def test_every_dtype_and_shape_comes_back_bit_for_bit(path, dtype):
    shapes = [(), (1,), (5,), (0,), (0, 3), (2, 0, 4), (3, 4, 5), (1, 1, 1, 1, 2)]
    tensors = {f"t{i}": of_bits(dtype, shape) for i, shape in enumerate(shapes)}
    loaded = read_checkpoint(write_checkpoint(path, tensors, {})).tensors
    assert same(loaded, tensors) and list(loaded) == list(tensors)
    assert same(safetensors.torch.load_file(path), tensors)


def test_any_strides_gradients_and_lazy_conjugates_come_back_contiguous(path):
    base = torch.randn(6, 8)
    tensors = {
        "transposed": base.T,
        "strided": base[::2, 1::3],
        "expanded": torch.randn(3, 1).expand(3, 4),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "conjugate": torch.randn(3, dtype=torch.complex64).conj(),
        "negative": torch.randn(3, dtype=torch.complex64).conj().imag,
        "odd booleans": torch.tensor([0, 2, 255], dtype=torch.uint8).view(torch.bool),
    }
    loaded = read_checkpoint(write_checkpoint(path, tensors, {})).tensors
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors if name != "odd booleans")
    assert loaded["odd booleans"].view(torch.uint8).tolist() == [0, 1, 1]
    assert not loaded["parameter"].requires_grad and all(t.is_contiguous() for t in loaded.values())


def test_tied_tensors_are_stored_once_and_tied_again(path):
    weight = torch.randn(100, 100)
    tensors = {"a": weight, "b": weight, "row": weight[3], "turned": weight.T, "equal": weight.clone()}
    loaded = read_checkpoint(write_checkpoint(path, tensors, {})).tensors
    assert same(loaded, tensors)
    assert loaded["a"].data_ptr() == loaded["b"].data_ptr() != loaded["equal"].data_ptr()
    assert path.stat().st_size < 3.2 * weight.nbytes


def test_other_tools_read_the_tensors_and_the_manifest(path):
    tensors = {"ä.ö": torch.randn(2, 3), "n": torch.arange(3)}
    write_checkpoint(path, tensors, {"step": 3})
    with safetensors.safe_open(path, "pt") as file:
        manifest = json.loads(file.metadata()["manifest"])
        assert torch.equal(file.get_tensor("ä.ö"), tensors["ä.ö"])
    assert manifest["meta"] == {"step": 3} and manifest["tensors"]["n"]["dtype"] == "I64"


@given(
    names=st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=4, unique=True),
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=4, max_size=4),
    dtypes=st.lists(st.sampled_from(sorted(DTYPES.values(), key=str)), min_size=4, max_size=4),
    meta=st.dictionaries(st.text(), st.recursive(st.none() | st.floats() | st.text(), st.lists), max_size=3),
)
@settings(max_examples=50, deadline=None)
def test_any_file_round_trips(names, shapes, dtypes, meta):
    tensors = {
        n: of_bits(d, s) for n, s, d in zip(names, shapes, dtypes, strict=False) if n != "__metadata__"
    }
    with tempfile.TemporaryDirectory() as folder:
        loaded = read_checkpoint(write_checkpoint(Path(folder) / "x", tensors, meta))
    assert same(loaded.tensors, tensors) and list(loaded.tensors) == list(tensors)
    assert repr(loaded.meta) == repr(meta)  # repr tells -0.0 from 0.0, and NaN equals NaN


def test_an_optimizer_goes_through_a_file(path):
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    tensors, tree = flatten_state({"optimizer": optimizer.state_dict(), "best": math.inf})
    loaded = read_checkpoint(write_checkpoint(path, tensors, {"tree": tree}))
    state = unflatten_state(loaded.tensors, loaded.meta["tree"])
    assert (
        state["best"] == math.inf
        and state["optimizer"]["param_groups"] == optimizer.state_dict()["param_groups"]
    )
    step = state["optimizer"]["state"][0]["step"]
    assert step.shape == () and float(step) == 1.0


def small_file(path):
    tensors = {"w": torch.randn(3, 2), "flags": torch.tensor([True, False, True]), "step": torch.tensor(7)}
    write_checkpoint(path, tensors | {"tied": tensors["w"]}, {"lr": 0.1, "best": math.inf})
    data = path.read_bytes()
    return data, 8 + int.from_bytes(data[:8], "little")


def test_every_single_flipped_bit_is_an_error_that_names_the_part(path):
    """All bits of a small file, one after the other."""
    data, header_end = small_file(path)
    parts = (
        ["Tensor 'step' is damaged"] * 8 + ["Tensor 'w' is damaged"] * 24 + ["Tensor 'flags' is damaged"] * 3
    )
    assert len(data) == header_end + len(parts)
    wrong = []
    with open(path, "r+b", buffering=0) as file:
        for place, bit in itertools.product(range(len(data)), range(8)):
            os.pwrite(file.fileno(), bytes([data[place] ^ (1 << bit)]), place)
            with pytest.raises(CheckpointError) as caught:
                read_checkpoint(path)
            os.pwrite(file.fileno(), data[place : place + 1], place)
            words = ["header", "Not a checkpoint"] if place < header_end else [parts[place - header_end]]
            if not any(word in str(caught.value) for word in words):
                wrong.append((place, bit, str(caught.value)))
    assert not wrong and float(read_checkpoint(path).tensors["step"]) == 7.0


def test_random_flips_in_a_larger_file_are_all_errors(tmp_path):
    tally = flip_bits("unigen", 1000, random.Random(int(torch.randint(2**31, ()))), tmp_path)
    assert tally["errors"] == tally["flips"] == 1000 and tally["untyped"] == 0


def test_every_truncation_and_every_extension_is_an_error(path):
    data, header_end = small_file(path)
    for length in reversed(range(len(data))):
        os.truncate(path, length)
        with pytest.raises(CheckpointError, match=r"cut short|empty") as caught:
            read_checkpoint(path)
        assert length == 0 or ("header" in str(caught.value)) == (length < header_end)
    for extra in (b"\0", b" ", data):
        path.write_bytes(data + extra)
        with pytest.raises(CheckpointError, match="after the last tensor"):
            read_checkpoint(path)


def test_tensors_swapped_between_checkpoints_are_seen(path):
    write_checkpoint(path, {"a": torch.zeros(4), "b": torch.ones(4)}, {})
    data = path.read_bytes()
    path.write_bytes(data[:-32] + data[-16:] + data[-32:-16])
    with pytest.raises(CheckpointError, match="Tensor 'a' is damaged"):
        read_checkpoint(path)


def test_saving_and_loading_move_no_random_state_and_change_nothing_saved(path):
    tensors, meta = {"w": torch.randn(3, 3).T, "flags": torch.tensor([True])}, {"history": [1.0, (2, 3)]}
    before = {name: tensor.clone() for name, tensor in tensors.items()}, repr(meta)
    states = torch.get_rng_state(), random.getstate()
    read_checkpoint(write_checkpoint(path, tensors, meta))
    assert torch.equal(states[0], torch.get_rng_state()) and states[1] == random.getstate()
    assert same(tensors, before[0]) and repr(meta) == before[1] and tensors["w"].stride() == (1, 3)


def test_loading_takes_the_files_size_of_memory_and_little_time(path):
    write_checkpoint(path, {f"w{i}": torch.full((2**20,), float(i)) for i in range(16)}, {})
    before = memory_mark()
    start = time.process_time()
    loaded = read_checkpoint(path)
    seconds = time.process_time() - start
    assert memory_peak() - before <= 1.25 * path.stat().st_size
    assert seconds <= 2.0
    assert float(loaded.tensors["w15"][-1]) == 15.0


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"x": [1.0]}, "'x' is not a tensor"),
        ({3: torch.ones(1)}, "name cannot be stored"),
        ({"__metadata__": torch.ones(1)}, "name cannot be stored"),
        ({"\ud800": torch.ones(1)}, "name cannot be stored"),
        ({"x": torch.ones(2, dtype=torch.complex128)}, "view_as_real"),
        ({"x": torch.eye(2).to_sparse()}, "to_dense"),
        ({"x": torch.ones(2, device="meta")}, "dense tensor of its own"),
        ({"x": torch.zeros([1] * 65)}, "65 dimensions"),
    ],
)
def test_tensors_the_format_cannot_hold_are_named_and_nothing_is_written(path, tensors, words):
    with pytest.raises(CheckpointError, match=words) as caught:
        write_checkpoint(path, {"good": torch.ones(1)} | tensors, {})
    assert str(path) in str(caught.value) and not list(path.parent.iterdir())


def test_what_is_not_a_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    cases = {
        "": "Is a directory",
        "none": "No such file",
        "fifo": "a device or a pipe",
        "loop": "symbolic",
        "a\0b": "null",
    }
    for name, words in cases.items():
        with pytest.raises(CheckpointError, match=words) as caught:
            read_checkpoint(f"{tmp_path}/{name}")
        assert str(tmp_path) in str(caught.value)
    for target, words in {tmp_path: "folder", tmp_path / "none" / "x": "existing folder"}.items():
        with pytest.raises(CheckpointError, match=words):
            write_checkpoint(target, {}, {})


def test_devices_that_cannot_be_used_are_refused(path):
    write_checkpoint(path, {"w": torch.ones(1)}, {})
    for device in ("meta", "cuda:99", "nonsense"):
        with pytest.raises(CheckpointError, match=f"Device '{device}'"):
            read_checkpoint(path, device=device)
    assert read_checkpoint(path, device=torch.device("cpu")).tensors["w"].device.type == "cpu"


def test_memory_that_runs_out_while_loading_is_named(path, monkeypatch):
    write_checkpoint(path, {"w": torch.ones(7)}, {})
    for error in (MemoryError("none"), RuntimeError("DefaultCPUAllocator: can't allocate memory")):
        empty = torch.empty

        def no_memory(shape, error=error, empty=empty, **options):
            if shape == [7]:
                raise error
            return empty(shape, **options)

        with monkeypatch.context() as patch:
            patch.setattr(torch, "empty", no_memory)
            with pytest.raises(CheckpointError, match="No memory for tensor 'w'"):
                read_checkpoint(path)
    assert float(read_checkpoint(path).tensors["w"].sum()) == 7.0


@pytest.mark.device
def test_tensors_travel_from_and_to_a_device(path):
    tensors = {"w": torch.randn(5, 3, device="cuda").T, "n": torch.tensor(3, device="cuda")}
    loaded = read_checkpoint(write_checkpoint(path, tensors, {}), device="cuda").tensors
    assert all(loaded[name].is_cuda and torch.equal(loaded[name], tensors[name]) for name in tensors)
