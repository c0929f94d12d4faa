"""Tiny idx files, written by hand; the published files themselves are pinned by their checksums."""

from __future__ import annotations

import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch

from unigen.data import mnist as module_level
from unigen.data.download import DataFile, DataFileError
from unigen.data.mnist import FILES, mnist, read_idx


def idx(x):
    """The format by its definition: 0 0 8 D, D big-endian sizes, the bytes."""
    return bytes([0, 0, 8, x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape) + x.astype("uint8").tobytes()


def write(folder, monkeypatch, train=10_004, test=3):
    shapes = {
        "images": (train, 28, 28),
        "labels": (train,),
        "test_images": (test, 28, 28),
        "test_labels": (test,),
    }
    arrays = {}
    for name, shape in shapes.items():
        arrays[name] = np.random.randint(0, 10 if "labels" in name else 256, shape)
        content = idx(arrays[name])
        path = folder / FILES[name].path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(content, 1))
        sha = hashlib.sha256(content).hexdigest()
        monkeypatch.setitem(FILES, name, DataFile(FILES[name].path, sha, ()))
    return arrays


def test_reads_images_and_labels_and_dequantises(tmp_path, monkeypatch):
    arrays = write(tmp_path, monkeypatch)
    data, integers, again = mnist(tmp_path), mnist(tmp_path, dequantise=False), mnist(tmp_path)
    assert (data.levels, integers.levels, data.image_shape) == (256, 1, (28, 28))
    images = torch.from_numpy(arrays["images"]).flatten(1).float()
    assert torch.equal(integers.train, images[:4]) and torch.equal(integers.validation, images[4:])
    assert torch.equal(data.dequantise.inverse(data.train), images[:4])
    assert torch.equal(data.train, again.train) and torch.equal(data.test, again.test)
    assert data.test.min() > 0 and data.test.max() < 1
    labels = torch.from_numpy(arrays["labels"])
    assert torch.equal(data.train_labels, labels[:4]) and torch.equal(data.validation_labels, labels[4:])
    assert torch.equal(data.test_labels, torch.from_numpy(arrays["test_labels"]))
    assert module_level is mnist


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"\0\0\x08\0",
        b"\0\0\x09\x01" + struct.pack(">I", 2) + b"ab",
        b"\0\0\x08\x02" + struct.pack(">I", 2),
        b"\0\0\x08\x01" + struct.pack(">I", 3) + b"ab",
        b"\0\0\x08\x01" + struct.pack(">I", 1) + b"ab",
        b"\0\0\x08\x01" + struct.pack(">I", 0),
    ],
)
def test_bytes_that_are_no_idx_file_are_refused(content, tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataFileError):
        read_idx(tmp_path / "x.gz")


def test_idx_of_any_shape(tmp_path):
    x = np.arange(24).reshape(2, 3, 4)
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx(x)))
    assert torch.equal(read_idx(tmp_path / "x.gz"), torch.from_numpy(x).to(torch.uint8))


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    write(tmp_path, monkeypatch)
    (tmp_path / FILES["labels"].path).unlink()
    with pytest.raises(DataFileError, match="train-labels"):
        mnist(tmp_path)
