from __future__ import annotations

import pytest
import torch

from unigen.data.dataset import Dataset
from unigen.data.dequantise import Dequantise
from unigen.errors import ArgumentError, EmptyDataError, NonFiniteError, ShapeError, UnknownNameError


def example(**changes) -> Dataset:
    fields = {
        "name": "example",
        "train": torch.zeros(5, 2, 3),
        "validation": torch.zeros(2, 2, 3),
        "test": torch.zeros(1, 2, 3),
        "train_labels": torch.tensor([0, 1, 2, 1, 0]),
    }
    return Dataset(**(fields | changes))


def test_shapes_and_classes() -> None:
    data = example()
    assert (data.event_shape, data.dims, data.classes) == (torch.Size([2, 3]), 6, 3)
    assert example(train_labels=None).classes == 0
    assert repr(data) == "Dataset example: train 5, validation 2, test 1, event shape (2, 3), 3 classes"


def test_context_is_one_hot() -> None:
    data = example()
    assert data.context().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert data.context().dtype == data.train.dtype
    with pytest.raises(ArgumentError, match="no labels"):
        data.context("test")
    with pytest.raises(UnknownNameError, match="validation"):
        data.context("dev")


def test_fresh_train_redraws_noise_only_where_there_is_some() -> None:
    data = example()
    assert data.fresh_train() is data.train
    dequantise = Dequantise(4)
    k = torch.randint(0, 4, (5, 2, 3))
    noisy = example(train=dequantise(k), levels=4, dequantise=dequantise)
    fresh = noisy.fresh_train()
    assert not torch.equal(fresh, noisy.train)
    assert torch.equal(dequantise.inverse(fresh), k.float())


def test_moves_between_devices() -> None:
    moved = example().to("cpu")
    assert torch.equal(moved.train, example().train)
    assert moved.validation_labels is None


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        (ShapeError, {"test": torch.zeros(1, 6)}),
        (ShapeError, {"train": torch.zeros(5)}),
        (ShapeError, {"train_labels": torch.zeros(4)}),
        (EmptyDataError, {"validation": torch.zeros(0, 2, 3)}),
        (NonFiniteError, {"test": torch.full((1, 2, 3), float("nan"))}),
        (ArgumentError, {"levels": 0}),
    ],
)
def test_bad_parts_are_refused(error, changes) -> None:
    with pytest.raises(error):
        example(**changes)
