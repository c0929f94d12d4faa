"""Tiny files in the published format; the published files themselves are pinned by their checksums."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from scipy.io import savemat

from unigen.data import binarised_mnist as function
from unigen.data.binarised_mnist import FILES, binarised_mnist, read_matlab
from unigen.data.download import DataFile, DataFileError


def write(folder, monkeypatch, rows=(5, 3, 2), features=784, variable="X"):
    """Write the three files with random bits, and pin their checksums instead of the published ones."""
    arrays = {}
    for (name, file), n in zip(list(FILES.items()), rows, strict=True):
        arrays[name] = np.random.randint(0, 2, (n, features)).astype("uint8")
        path = folder / file.path
        path.parent.mkdir(exist_ok=True)
        savemat(path, {variable: arrays[name], "other": np.ones(2)}, do_compression=True)
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setitem(FILES, name, DataFile(file.path, sha, ()))
    return arrays


def test_reads_the_three_splits(tmp_path, monkeypatch):
    arrays = write(tmp_path, monkeypatch)
    data = binarised_mnist(tmp_path, dtype=torch.float64)
    for name, x in arrays.items():
        assert torch.equal(getattr(data, name), torch.from_numpy(x).double())
    assert data.image_shape == (28, 28) and data.levels == 1 and data.dequantise is None
    assert binarised_mnist(tmp_path).train.dtype == torch.float32
    assert function is binarised_mnist


@pytest.mark.parametrize("change", [{"features": 783}, {"variable": "Y"}])
def test_another_matrix_is_refused(change, tmp_path, monkeypatch):
    write(tmp_path, monkeypatch, **change)
    with pytest.raises(DataFileError):
        binarised_mnist(tmp_path)


def test_other_values_and_other_formats_are_refused(tmp_path):
    savemat(tmp_path / "x.mat", {"X": np.full((2, 784), 2)})
    (tmp_path / "y.mat").write_bytes(b"no MATLAB file " * 20)
    (tmp_path / "z.mat").write_bytes((tmp_path / "x.mat").read_bytes()[:200])
    for name in ("x.mat", "y.mat", "z.mat"):
        with pytest.raises(DataFileError):
            read_matlab(tmp_path / name, "X", 784)


def test_the_published_files_are_asked_for(tmp_path, monkeypatch):
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        raise OSError("offline")

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    with pytest.raises(DataFileError, match=r"binarized_mnist_train\.amat\.mat"):
        binarised_mnist(tmp_path)
    assert asked and all(url.startswith("https://") for url in asked)
    assert all(len(file.sha256) == 64 for file in FILES.values())
