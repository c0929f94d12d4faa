"""Headers that were forged, digest and all: refused before memory is taken, in a fraction of a second."""

from __future__ import annotations

import hashlib
import json
import os
import time
import tracemalloc

import pytest
import torch

from unigen.errors import CheckpointError
from unigen.inference.checkpoint import read_checkpoint, write_checkpoint
from unigen.inference.checkpoint_header import MAX_BRACKETS, MAX_HEADER, encode_header, parse_header

ZEROS = hashlib.sha256(bytes(8)).hexdigest()
ENTRY = {"dtype": "F32", "shape": [2], "sha256": ZEROS}
PLACE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def sealed(manifest, described="", version="1", extra="", data=bytes(8)):
    """Build a file with a valid digest around any manifest text and any tensor entries; independent of the writer."""
    manifest = manifest if isinstance(manifest, str) else json.dumps(manifest, separators=(",", ":"))
    head = f'{{"__metadata__":{{"format":"unigen-checkpoint","version":"{version}","sha256":"'
    described = (
        described if isinstance(described, str) else json.dumps(described, separators=(",", ":"))[1:-1]
    )
    rest = f'","manifest":{json.dumps(manifest)}{extra}}}{"," + described if described else ""}}}'
    rest += " " * (-len(head + rest) % 8)
    digest = hashlib.sha256((head + "0" * 64 + rest).encode()).hexdigest()
    header = (head + digest + rest).encode()
    return len(header).to_bytes(8, "little") + header + data


def of(entries, meta=None):
    return {"tensors": entries, "meta": {} if meta is None else meta}


def one(**changes):
    return of({"w": ENTRY | changes}), {
        "w": PLACE | {k: v for k, v in changes.items() if k in ("dtype", "shape")}
    }


def refused(tmp_path, content):
    """Assert a CheckpointError, at once and without much memory; return its message."""
    path = tmp_path / "file"
    path.write_bytes(content)
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds <= 2 and peak <= 2 * len(content) + 2**20
    return str(caught.value)


def test_the_forger_can_forge(tmp_path):
    """The same construction with honest contents loads: what is refused below is refused for its contents."""
    path = tmp_path / "file"
    path.write_bytes(sealed(*one()))
    assert torch.equal(read_checkpoint(path).tensors["w"], torch.zeros(2))
    assert path.read_bytes() == write_checkpoint(tmp_path / "own", {"w": torch.zeros(2)}, {}).read_bytes()


TWO = {"a": ENTRY, "b": ENTRY}
HUGE = 2**62
FORGERIES = {
    "no manifest keys": (sealed({}), "lacks"),
    "no meta": (sealed({"tensors": {}}), "lacks"),
    "more keys": (sealed(of({}) | {"run": "os.system"}), "lacks"),
    "manifest a list": (sealed([]), "lacks"),
    "manifest no JSON": (sealed("{"), "JSONDecodeError"),
    "manifest a number": (sealed("3"), "lacks"),
    "tensors a list": (sealed({"tensors": [1], "meta": {}}), "AttributeError"),
    "entry a string": (sealed(of({"w": "F32"})), "impossible"),
    "entry a number": (sealed(of({"w": 3})), "TypeError"),
    "entry with more": (sealed(of({"w": ENTRY | {"loader": "pickle"}}), {"w": PLACE}), "impossible"),
    "unknown dtype": (sealed(*one(dtype="OBJECT")), "KeyError"),
    "dtype a list": (sealed(*one(dtype=[])), "TypeError"),
    "shape a number": (sealed(*one(shape=2)), "impossible"),
    "shape negative": (sealed(*one(shape=[-1, -2])), "impossible"),
    "shape of booleans": (sealed(*one(shape=[True, 2])), "impossible"),
    "shape of floats": (sealed(*one(shape=[2.0])), "impossible"),
    "shape beyond 2^63": (sealed(*one(shape=[HUGE, HUGE])), "impossible"),
    "shape beyond 2^63 without elements": (sealed(*one(shape=[0, HUGE, HUGE])), "impossible"),
    "shape of 10^100": (sealed(*one(shape=[10**100])), "impossible"),
    "shape of 5000 digits": (sealed('{"tensors":{"w":{"shape":[' + "9" * 5000 + "]}}}"), "ValueError"),
    "65 dimensions": (sealed(*one(shape=[1] * 65)), "impossible"),
    "digest too short": (sealed(*one(sha256="0")), "impossible"),
    "digest a number": (sealed(*one(sha256=0)), "impossible"),
    "shape larger than the file": (sealed(of({"w": ENTRY | {"shape": [2**40]}}), {"w": PLACE}), "differ"),
    "offsets beyond the file": (
        sealed(of({"w": ENTRY}), {"w": PLACE | {"data_offsets": [0, 2**40]}}),
        "differ",
    ),
    "offsets overlap": (sealed(of(TWO), {"a": PLACE, "b": PLACE}), "differ"),
    "offsets with a gap": (sealed(of({"w": ENTRY}), {"w": PLACE | {"data_offsets": [8, 16]}}), "differ"),
    "offsets reversed": (sealed(of({"w": ENTRY}), {"w": PLACE | {"data_offsets": [8, 0]}}), "differ"),
    "header says less": (sealed(of({"w": ENTRY})), "differ"),
    "header says more": (sealed(of({}), {"w": PLACE}), "differ"),
    "name twice in the header": (sealed(of({"w": ENTRY}), '"w":1,"w":2'), "twice"),
    "name twice in the manifest": (sealed('{"tensors":{"w":1,"w":1},"meta":{}}'), "twice"),
    "metadata twice": (sealed(of({}), '"__metadata__":{}'), "twice"),
    "tensor called metadata": (sealed(of({"__metadata__": ENTRY})), "unigen did not write"),
    "more metadata": (sealed(of({}), extra=',"loader":"pickle"', data=b""), "differ"),
    "same as itself": (sealed(of({"w": {"same_as": "w"}})), "not there"),
    "same as nothing": (sealed(of({"w": {"same_as": "v"}})), "KeyError"),
    "same as each other": (sealed(of({"v": {"same_as": "w"}, "w": {"same_as": "v"}})), "not there"),
    "same as a list": (sealed(of({"w": {"same_as": []}})), "TypeError"),
    "NaN": (sealed('{"tensors":{},"meta":{"x":NaN}}'), "no JSON"),
    "Infinity": (sealed('{"tensors":{},"meta":{"x":Infinity}}'), "no JSON"),
    "1e999": (sealed('{"tensors":{},"meta":{"x":1e999}}'), "ValueError"),
    "another spelling": (sealed('{"tensors":{},"meta":{"x":1.00}}'), "differ"),
    "spaces": (sealed('{"tensors":{}, "meta":{}}'), "differ"),
    "deep": (sealed('{"tensors":{},"meta":' + "[" * 100_000), "RecursionError"),
    "many brackets": (sealed('{"tensors":{},"meta":[' + "{}," * (MAX_BRACKETS + 1)), "Too many lists"),
    "version 2": (sealed(*one(), version="2"), "got version 2, expected version 1"),
    "version 0": (sealed(*one(), version="0"), "got version 0"),
    "version 01": (sealed(*one(), version="01"), "differ"),
    "meta a list": (sealed(of({}, [1]), data=b""), "not a dictionary"),
    "meta an object": (sealed(of({}, {"$object": "os.system"}), data=b""), "reserved key"),
    "meta a tensor": (sealed(of({}, {"x": {"$tensor": "w"}}), data=b""), "reserved key"),
    "meta an unhashable key": (sealed(of({}, {"$dict": [[[1], 2]]}), data=b""), "damaged"),
    "meta of the word meta": (sealed(of({}, "meta"), data=b""), "not a dictionary"),
    "data too short": (sealed(*one(), data=bytes(7)), "cut short at tensor 'w'"),
    "data too long": (sealed(*one(), data=bytes(9)), "after the last tensor"),
    "other data": (sealed(*one(), data=bytes(7) + b"\1"), "Tensor 'w' is damaged"),
    "a petabyte that is not there": (
        sealed(
            *[x | {"w": x["w"] | {"data_offsets": [0, 2**50]}} if "w" in x else x for x in one(shape=[2**48])]
        ),
        "cut short at tensor 'w'",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_headers_are_refused_for_what_they_are(tmp_path, name):
    content, words = FORGERIES[name]
    assert words in refused(tmp_path, content)


@pytest.mark.parametrize(
    "length", [0, 1, 2**16, MAX_HEADER, MAX_HEADER + 8, 2**31, 2**32, 2**62, 2**63, 2**64 - 8]
)
def test_absurd_header_lengths_are_refused_before_memory_is_taken(tmp_path, length):
    content = length.to_bytes(8, "little") + sealed(*one())[8:]
    assert "header" in refused(tmp_path, content)


def test_a_long_header_in_a_long_file_is_refused_unread(tmp_path):
    """The file is sparse: a gigabyte of nothing behind a length that fits it."""
    path = tmp_path / "file"
    path.write_bytes((2**29).to_bytes(8, "little") + sealed(*one())[8:])
    os.truncate(path, 2**30)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="header's length"):
        read_checkpoint(path)
    assert tracemalloc.get_traced_memory()[1] <= 2**20
    tracemalloc.stop()


def test_booleans_that_are_neither_are_refused(tmp_path):
    manifest, described = one(dtype="BOOL", sha256=hashlib.sha256(b"\1\2").hexdigest())
    described["w"]["data_offsets"] = [0, 2]
    assert "of booleans" in refused(tmp_path, sealed(manifest, described, data=b"\1\2"))


def test_a_header_too_large_to_be_read_is_not_written(tmp_path):
    for meta in ({"x": "x" * MAX_HEADER}, {"x": [[]] * MAX_BRACKETS}):
        with pytest.raises(CheckpointError, match="as tensors"):
            write_checkpoint(tmp_path / "x", {}, meta)
    assert not list(tmp_path.iterdir())
    almost = {"x": [[]] * (MAX_BRACKETS - 10)}
    assert read_checkpoint(write_checkpoint(tmp_path / "x", {}, almost)).meta == almost


def test_the_header_of_a_manifest_is_read_back_and_is_aligned():
    manifest = {
        "tensors": {"b": ENTRY, "a": ENTRY | {"dtype": "F64"}, "c": {"same_as": "b"}},
        "meta": {"x": 1.5},
    }
    header = encode_header(manifest)
    assert len(header) % 8 == 0 and parse_header(header) == manifest
    assert json.loads(header)["a"]["data_offsets"] == [0, 16] and json.loads(header)["b"]["data_offsets"] == [
        16,
        24,
    ]
