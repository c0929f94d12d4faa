"""Batches: each example once an epoch, whatever the source; a restored stream continues bitwise."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.programs import Conditional
from unigen.data.digits import digits
from unigen.errors import ArgumentError, ContextError, EmptyDataError, NonFiniteError, ShapeError
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
