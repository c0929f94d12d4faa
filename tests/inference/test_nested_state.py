"""Nested states must come back equal in every key, type and bit, through real JSON text."""

from __future__ import annotations

import collections
import json
import math
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unigen.errors import CheckpointError
from unigen.inference.checkpoint_header import DTYPES
from unigen.inference.nested_state import flatten_state, from_json, to_json, unflatten_state


def identical(left, right):
    """Equal in type, order and bits; the oracle is independent of JSON."""
    if isinstance(left, torch.Tensor):
        octets = [bytes(t.contiguous().reshape(-1).view(torch.uint8).numpy()) for t in (left, right)]
        return left.dtype == right.dtype and left.shape == right.shape and octets[0] == octets[1]
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or struct.pack("d", left) == struct.pack("d", right)
    if isinstance(left, dict):
        pairs = (
            zip(left.items(), right.items(), strict=True) if len(left) == len(right) else [((0, 0), (1, 1))]
        )
        return all(identical(a, b) and identical(x, y) for (a, x), (b, y) in pairs)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(identical, left, right))
    return left == right


def through_text(state):
    tensors, tree = flatten_state(state)
    return unflatten_state(tensors, json.loads(json.dumps(tree, allow_nan=False)))


@st.composite
def tensors(draw):
    """Any dtype, any bits (NaN payloads too), 0 to 3 dimensions of size 0 to 3, contiguous or not."""
    dtype = draw(st.sampled_from(sorted(DTYPES.values(), key=str)))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    octets = draw(
        st.binary(min_size=math.prod(shape) * dtype.itemsize, max_size=math.prod(shape) * dtype.itemsize)
    )
    flat = torch.tensor(list(octets), dtype=torch.uint8)
    tensor = flat.gt(127) if dtype is torch.bool else flat.view(dtype)
    return tensor.reshape(shape).mT if len(shape) > 1 and draw(st.booleans()) else tensor.reshape(shape)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
KEYS = (
    st.text()
    | st.integers()
    | st.sampled_from(["$tensor", "$dict", "", ".", "a.b", "__metadata__", "\ud800"])
)
NESTED = st.recursive(
    SCALARS | tensors(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3).map(collections.OrderedDict)
    ),
    max_leaves=12,
)
STATES = st.dictionaries(KEYS, NESTED, max_size=4)


@given(STATES)
@settings(max_examples=300, deadline=None)
def test_any_nested_state_round_trips(state):
    assert identical(through_text(state), state)


@given(SCALARS)
@settings(max_examples=200, deadline=None)
def test_any_scalar_round_trips(value):
    assert identical(from_json(json.loads(json.dumps(to_json(value), allow_nan=False))), value)


def test_types_are_not_confused():
    state = {
        "a": [True, 1, 1.0, -0.0, None, "1", (1,), [1]],
        0: {True: "x", 2: "y", "2": "z", None: 0, 1.5: 1, (1, "a"): 2},
    }
    assert identical(through_text(state), state)
    kinds = {
        "counter": collections.Counter([3, 3, 5]),
        "ordered": collections.OrderedDict(b=1, a=2),
        "dict": {3: 2},
    }
    assert identical(through_text(kinds), kinds)
    special = {"f": [math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308, 0.1 + 0.2]}
    assert identical(through_text(special), special)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: (torch.optim.Adam(p, amsgrad=True), None),
        lambda p: (
            torch.optim.SGD(p, 0.1, momentum=0.9),
            lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [2, 2, 4]),
        ),
        lambda p: (
            torch.optim.AdamW(p),
            lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
        ),
        lambda p: (torch.optim.RMSprop(p), lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o)),
        lambda p: (torch.optim.Adam(p), lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 3)),
        lambda p: (
            torch.optim.Adam(p),
            lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
        ),
    ],
)
def test_optimizers_and_schedulers_go_on_bitwise(make):
    """The oracle is the run that was never interrupted."""

    def build():
        torch.manual_seed(0)
        net = nn.Linear(3, 2)
        optimizer, schedule = make(list(net.parameters()))
        return net, optimizer, schedule and schedule(optimizer)

    def train(net, optimizer, scheduler, steps):
        for step in steps:
            optimizer.zero_grad()
            net(torch.full((4, 3), 1.0 + step)).square().mean().backward()
            optimizer.step()
            if scheduler is not None:
                plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
                scheduler.step(1.0) if plateau else scheduler.step()

    straight = build()
    train(*straight, range(6))
    first, second = build(), build()
    train(*first, range(3))
    state = {"net": first[0].state_dict(), "optimizer": first[1].state_dict()}
    if first[2] is not None:
        state["scheduler"] = first[2].state_dict()
    loaded = through_text(state)
    second[0].load_state_dict(loaded["net"])
    second[1].load_state_dict(loaded["optimizer"])
    if second[2] is not None:
        second[2].load_state_dict(loaded["scheduler"])
    train(*second, range(3, 6))
    for left, right in zip(straight[0].parameters(), second[0].parameters(), strict=True):
        assert torch.equal(left, right)


def test_shared_tensors_stay_shared_and_paths_that_read_alike_stay_apart():
    tied = torch.ones(2)
    state = {"a": tied, "b": {"c": torch.zeros(1)}, "b.c": tied, 0: torch.ones(3), "0": torch.ones(4)}
    loaded = through_text(state)
    assert identical(loaded, state) and loaded["a"].data_ptr() == loaded["b.c"].data_ptr()


class Odd:
    pass


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda step: 0.9, ["lambda", "leave it out"]),
        (Odd(), ["Odd", "turn it into"]),
        (Odd, ["Odd"]),
        ({1, 2}, ["set"]),
        (b"raw", ["bytes"]),
        (1j, ["complex"]),
        (np.float64(1.0), ["float64", ".item()"]),
        (np.zeros(2), ["ndarray", "torch.as_tensor"]),
        (torch.float32, ["dtype"]),
        (2**5000, ["bits"]),
        ({frozenset(): 1}, ["frozenset", "key"]),
        (collections.namedtuple("Point", "x")(1), ["Point"]),
    ],
)
def test_what_cannot_be_held_is_named_with_its_key(value, words):
    with pytest.raises(CheckpointError) as caught:
        flatten_state({"scheduler": {"lambdas": [None, value]}})
    for word in ["state['scheduler']['lambdas'][1]", *words]:
        assert word in str(caught.value)


def test_a_state_that_contains_itself_and_one_that_is_no_dictionary_are_refused():
    loop = {}
    loop["again"] = [loop, loop]
    with pytest.raises(CheckpointError, match="contains itself"):
        flatten_state(loop)
    with pytest.raises(CheckpointError, match="dictionary"):
        flatten_state([1])
    with pytest.raises(CheckpointError, match="pass tensors as tensors"):
        to_json({"x": torch.ones(1)})


@pytest.mark.parametrize(
    "tree",
    [
        [],
        {"$tuple": [1]},
        {"a": {"$tensor": "missing"}},
        {"a": {"$tensor": 3}},
        {"a": {"$float": "1.0"}},
        {"a": {"$object": "os.system"}},
        {"a": {"$dict": [[1]]}},
        {"a": {"$dict": [[[1], 2]]}},
        {"a": {"$dict": [[1, 2], [1, 3]]}},
        {"a": {"$dict": "x"}},
        {"a": {"$tuple": [], "b": 1}},
        {"a": {"$dict": [[{"$tensor": "x"}, 2]]}},
        {"a": object()},
    ],
)
def test_damaged_trees_are_refused(tree):
    with pytest.raises(CheckpointError, match="damaged"):
        unflatten_state({"x": torch.ones(1)}, tree)


def test_a_tree_too_deep_to_have_been_written_is_refused():
    deep = [1]
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(CheckpointError, match="damaged"):
        unflatten_state({}, {"a": deep})
