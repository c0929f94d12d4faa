"""The fixed binarisation of MNIST on which likelihoods are published: 784 binary pixels."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor

from unigen.data.dataset import SPLITS, Dataset
from unigen.data.download import DataFile, DataFileError, fetch

_AT = "https://raw.githubusercontent.com/mingzhang-yin/ARM-gradient"
_SHA = {
    "train": "79a0312c7389d855cfc97e3812de3998417c5829d8a51543b56a90a91252ae7e",
    "valid": "7436afc856959075c7787025bb8a4ba2b520b9230ee39667c66aa7dd2819dd68",
    "test": "5bc30222e1e7896cbccd1e1db6b28540cc1230f4d2d5473841a5f6cc54be8d38",
}


def _file(split: str, sha256: str) -> DataFile:
    name = f"binarized_mnist_{split}.amat"
    commit = "bac893cfcec486bbd00b755b12cf8402053b0e84"
    urls = tuple(f"{_AT}/{at}/{file}" for at in (commit, "master") for file in (name, f"{name}.mat"))
    return DataFile(f"binarized_mnist/{name}.mat", sha256, urls)


FILES = {name: _file(split, _SHA[split]) for name, split in zip(SPLITS, _SHA, strict=True)}


def read_matlab(path: Path, variable: str, features: int) -> Tensor:
    """Return the matrix of a MATLAB v5 file as integers, shape (N, D).

    Args:
        path: The file.
        variable: The matrix's name.
        features: D.

    Raises:
        DataFileError: The file cannot be read, or holds no such matrix of zeros and ones.
    """
    from scipy.io import loadmat

    try:
        found = loadmat(io.BytesIO(path.read_bytes()), variable_names=[variable])
    except Exception as error:  # scipy raises what the damage leads to: ValueError, TypeError, struct.error …
        raise DataFileError(f"{path} is no MATLAB v5 file: {error}") from error
    x = found.get(variable)
    if x is None or x.ndim != 2 or x.shape[1] != features or not ((x == 0) | (x == 1)).all():
        raise DataFileError(
            site=path.name,
            got="nothing" if x is None else f"shape {x.shape}",
            expected=f"a matrix {variable} of zeros and ones, shape (N, {features})",
        )
    return torch.from_numpy(x.astype("uint8"))


def binarised_mnist(data_dir: str | Path | None = None, *, dtype: torch.dtype | None = None) -> Dataset:
    """Load MNIST under the fixed binarisation of Larochelle: x_i = 1 with the grey level as probability, drawn once.

    Args:
        data_dir: Folder that holds ``binarized_mnist/``; the user's cache, filled by download, if omitted.
        dtype: Floating dtype of the images; torch's default when None.

    Returns:
        A Dataset with event shape (784,), image shape (28, 28), 50,000 / 10,000 / 10,000 images and no labels
        (the published files have none).

    Raises:
        DataFileError: A file is missing and cannot be downloaded, or is not the published one.

    References:
        Larochelle & Murray, The neural autoregressive distribution estimator, AISTATS 2011; Salakhutdinov & Murray,
        On the quantitative analysis of deep belief networks, ICML 2008.

    Example:
        >>> FILES["train"].path  # below the data directory
        'binarized_mnist/binarized_mnist_train.amat.mat'
    """
    dtype = dtype or torch.get_default_dtype()
    train, validation, test = (
        read_matlab(fetch(FILES[name], data_dir), "X", 784).to(dtype) for name in SPLITS
    )
    return Dataset(
        name="binarised MNIST",
        train=train,
        validation=validation,
        test=test,
        image_shape=(28, 28),
        source="MNIST (LeCun & Cortes), fixed binarisation of Larochelle",
    )
