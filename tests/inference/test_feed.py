"""Batches: each example once an epoch, whatever the source; a restored stream continues bitwise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.programs import Conditional
from unigen.data.digits import digits
from unigen.errors import ArgumentError, ContextError, EmptyDataError, NonFiniteError, ShapeError
from unigen.inference import feed as feed_module
from unigen.inference.feed import Feed, split_pair
from unigen.models.ppca import PPCA

X = torch.arange(30.0).reshape(10, 3)


def epoch(feed: Feed) -> torch.Tensor:
    return torch.cat([feed.next()[0] for _ in range(feed.per_epoch)])


@pytest.mark.parametrize(
    "data",
    [
        X,
        X.numpy(),
        X.tolist(),
        TensorDataset(X),
        TensorDataset(X, torch.arange(10)),
        DataLoader(TensorDataset(X), 4, shuffle=True),
    ],
    ids=["tensor", "numpy", "list", "dataset", "labelled", "loader"],
)
def test_an_epoch_holds_every_example_once_in_a_new_order(data):
    feed = Feed(PPCA(3, 1), data, 4)
    assert (feed.size, feed.per_epoch) == (10, 3)
    one, two = epoch(feed), epoch(feed)
    assert not torch.equal(one, two)
    for each in (one, two, feed.everything()[0]):
        assert torch.equal(each[each[:, 0].argsort()], X)


def test_contexts_travel_with_their_rows():
    x, c = X[:, :2], X + 100
    for data in ((x, c), DataLoader(TensorDataset(x, c), 4, shuffle=True)):
        feed = Feed(Conditional(), data, 4)
        for _ in range(4):
            rows, contexts = feed.next()
            assert torch.equal(contexts[:, :2], rows + 100)
        rows, contexts = feed.everything()
        assert torch.equal(contexts[:, :2], rows + 100)


@pytest.mark.parametrize("taken", [0, 1, 3, 5])
@pytest.mark.parametrize("kind", ["tensor", "loader"])
def test_a_restored_stream_continues_bitwise(taken, kind):
    def feed() -> Feed:
        return Feed(PPCA(3, 1), X if kind == "tensor" else DataLoader(TensorDataset(X), 4, shuffle=True), 4)

    torch.manual_seed(0)
    first = feed()
    for _ in range(taken):
        first.next()
    tensors, numbers = first.state()
    here = torch.get_rng_state()
    expected = [first.next()[0] for _ in range(7)]
    second = feed()
    second.restore(tensors, numbers)
    torch.set_rng_state(here)
    assert all(torch.equal(a, second.next()[0]) for a in expected)


def test_digits_get_fresh_noise_of_the_same_pixels():
    data = digits()
    feed = Feed(PPCA(64, 2), data, data.train.shape[0])
    one, two = feed.next()[0], feed.next()[0]
    assert not torch.equal(one, two)

    def pixels(x):  # k of x = (k + u)/17; float32 may round u to 0 or 1
        return torch.floor(x * 17).sum(0)

    assert (pixels(one) - pixels(data.train)).abs().max() <= 8
    assert (pixels(two) - pixels(data.train)).abs().max() <= 8


def test_pairs():
    assert split_pair((X, None)) == (X, None)
    assert split_pair([X]) == (X, None)
    assert split_pair((1.0, 2.0)) == ((1.0, 2.0), None)


@pytest.mark.parametrize(
    ("data", "size", "error"),
    [
        (X[:, :2], 4, ShapeError),
        (X[:0], 4, EmptyDataError),
        (X.clone().fill_(float("nan")), 4, NonFiniteError),
        ((X, X), 4, ContextError),
        (X, 0, ArgumentError),
        (DataLoader(TensorDataset(X), 16, drop_last=True), 4, EmptyDataError),
        (DataLoader(TensorDataset(X[:, :2]), 4), 4, ShapeError),
    ],
)
def test_bad_data_are_refused_before_any_work(data, size, error):
    with pytest.raises(error):
        Feed(PPCA(3, 1), data, size)


def stored(x: torch.Tensor, folder: Path, dtype: str = "float64") -> np.memmap:
    x.numpy().astype(dtype).tofile(folder / "x")
    return np.memmap(folder / "x", dtype=dtype, mode="r", shape=tuple(x.shape))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_a_file_stays_in_its_file_and_gives_the_batches_of_memory(tmp_path, dtype):
    file = stored(X, tmp_path, dtype)
    feed, memory = Feed(PPCA(3, 1), file, 4), Feed(PPCA(3, 1), X, 4)
    assert feed.source()[0].data_ptr() == file.ctypes.data and str(feed.source()[0].dtype) == f"torch.{dtype}"
    assert torch.equal(feed.everything()[0], X) and feed.everything()[0].dtype is torch.float32
    torch.manual_seed(1)
    one = epoch(feed)
    torch.manual_seed(1)
    assert torch.equal(one, epoch(memory)) and one.dtype is torch.float32
    assert torch.equal(torch.cat([x for x, _ in feed.chunks(3)]), X)


def test_a_file_with_contexts(tmp_path):
    feed = Feed(Conditional(), (stored(X[:, :2], tmp_path), X + 100), 4)
    for rows, contexts in [feed.next(), feed.source(), feed.start(), *feed.chunks(3)]:
        assert torch.equal(contexts[:, :2], rows + 100)
    with pytest.raises(ContextError):
        Feed(PPCA(3, 1), (stored(X, tmp_path), X), 4)


def test_starting_values_come_from_some_rows_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(feed_module, "START", 12)
    monkeypatch.setattr(feed_module, "FEWEST", 1)
    rows, _ = Feed(PPCA(3, 1), stored(X, tmp_path), 4).start()
    assert rows.shape == (4, 3) and all((row == X).all(1).any() for row in rows)
    assert rows[:, 0].unique().numel() == 4
    assert Feed(PPCA(3, 1), X, 4).start()[0].shape == (10, 3)


def test_missing_entries_of_a_file(tmp_path):
    holes = X.clone()
    holes[2, 1] = float("nan")
    file = stored(holes, tmp_path)
    assert Feed(PPCA(3, 1, missing=True), file, 4).source()[0].isnan().sum() == 1
    with pytest.raises(NonFiniteError, match="missing=True"):
        Feed(PPCA(3, 1), file, 4)


@pytest.mark.parametrize(("change", "error"), [
    (lambda x: x[:, :2], ShapeError), (lambda x: x[:0], EmptyDataError), (lambda x: x / 0, NonFiniteError),
])  # fmt: skip
def test_a_bad_file_is_refused(tmp_path, change, error):
    with np.errstate(all="ignore"), pytest.raises(error):
        Feed(PPCA(3, 1), change(stored(X, tmp_path)), 4)


TIGHT = """
import json, resource, sys
import numpy as np, torch
from unigen.inference.fit import fit
from unigen.models.ppca import PPCA
from unigen.objectives.likelihood import MaximumLikelihood

torch.set_num_threads(1)
x = np.memmap(sys.argv[1], np.float64, mode="r").reshape(-1, 100)
fit(PPCA(100, 3), np.random.randn(500, 100), device="cpu")
lines = open("/proc/self/status").read().splitlines()
limit = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmData")) + 48 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    np.array(x)
except MemoryError:
    program = PPCA(100, 3)
    closed = fit(program, x, device="cpu").history["closed form"][-1][1]
    options = dict(objective=MaximumLikelihood(), steps=3, lr=1e-9, batch_size=64, validation=x[:1000])
    record = fit(program, x, device="cpu", **options)
    print(json.dumps([closed, record.history["validation"][-1][1], program.mean.tolist()]))
"""


def test_a_file_larger_than_the_memory_allowed(tmp_path):
    """160 MB of float64 where 48 MB may be allocated: by closed form and by gradient; the oracle has the memory."""
    x = np.random.randn(200_000, 3) @ np.random.randn(3, 100) + np.random.randn(200_000, 100) + 2
    x.tofile(tmp_path / "x")
    command = [sys.executable, "-c", TIGHT, str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    closed, validated, mean = json.loads(done.stdout)
    values = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    truth = 0.5 * (100 * np.log(2 * np.pi) + np.log(values[:3]).sum() + 97 * np.log(values[3:].mean()) + 100)
    assert closed == pytest.approx(truth, rel=1e-5) and validated == pytest.approx(truth, abs=1.5)
    assert np.allclose(mean, x.mean(0), atol=1e-5)
