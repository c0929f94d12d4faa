"""MNIST: 70,000 handwritten digits of 28 × 28 pixels with 256 grey levels."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import torch
from torch import Tensor

from unigen.data.dataset import Dataset
from unigen.data.dequantise import Dequantise
from unigen.data.download import DataFile, DataFileError, fetch

LEVELS, VALIDATION, SEED = 256, 10_000, 0
_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def _file(name: str, sha256: str) -> DataFile:
    return DataFile(f"mnist/{name}", sha256, tuple(mirror + name for mirror in _MIRRORS))


FILES = {
    "images": _file(
        "train-images-idx3-ubyte.gz", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "labels": _file(
        "train-labels-idx1-ubyte.gz", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "test_images": _file(
        "t10k-images-idx3-ubyte.gz", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "test_labels": _file(
        "t10k-labels-idx1-ubyte.gz", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}


def read_idx(path: Path) -> Tensor:
    """Return the array of bytes in a gzipped idx file.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each size as a big-endian
    32-bit integer, the values in C order.

    Args:
        path: The file, ``.gz``.

    Returns:
        Tensor of dtype uint8.

    Raises:
        DataFileError: The bytes do not follow the format.

    References:
        LeCun, Cortes & Burges, The MNIST database of handwritten digits.
    """
    content = gzip.decompress(path.read_bytes())
    dims = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    if dims == 0 or len(content) < 4 + 4 * dims:
        raise DataFileError(site=path.name, got=f"a head {content[:4]!r}", expected="an idx file of bytes")
    shape = struct.unpack(f">{dims}I", content[4 : 4 + 4 * dims])
    size, got = torch.Size(shape).numel(), len(content) - 4 - 4 * dims
    if got != size or size == 0:
        raise DataFileError(site=path.name, got=f"{got} values", expected=f"{size} for shape {shape}")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=4 + 4 * dims).reshape(shape)


def mnist(
    data_dir: str | Path | None = None, *, dequantise: bool = True, dtype: torch.dtype | None = None
) -> Dataset:
    """Load MNIST, flattened to 784 features; the last 10,000 of the 60,000 training images validate.

    y = (k + u) / 256, one draw of u from a generator of seed 0, so that held-out figures are comparable between
    models and runs; training on fresh noise is what ``fit`` does with a Dataset.

    Args:
        data_dir: Folder that holds ``mnist/``; the user's cache, filled by download, if omitted.
        dequantise: Whether to return y in (0, 1); otherwise the integers k in 0 … 255, as floats.
        dtype: Floating dtype of the images; torch's default when None.

    Returns:
        A Dataset with event shape (784,), image shape (28, 28), 50,000 / 10,000 / 10,000 images and their labels.

    Raises:
        DataFileError: A file is missing and cannot be downloaded, or is not the published one.

    References:
        LeCun, Bottou, Bengio & Haffner, Gradient-based learning applied to document recognition, 1998.

    Example:
        >>> FILES["images"].path  # below the data directory
        'mnist/train-images-idx3-ubyte.gz'
    """
    dtype = dtype or torch.get_default_dtype()
    arrays = {name: read_idx(fetch(file, data_dir)) for name, file in FILES.items()}
    transform, generator = Dequantise(LEVELS), torch.Generator().manual_seed(SEED)
    k, k_test = (arrays[name].flatten(1).to(dtype) for name in ("images", "test_images"))
    if dequantise:
        k, k_test = transform(k, generator=generator), transform(k_test, generator=generator)
    y, y_test = arrays["labels"].long(), arrays["test_labels"].long()
    return Dataset(
        name="mnist",
        train=k[:-VALIDATION],
        validation=k[-VALIDATION:],
        test=k_test,
        train_labels=y[:-VALIDATION],
        validation_labels=y[-VALIDATION:],
        test_labels=y_test,
        levels=LEVELS if dequantise else 1,
        dequantise=transform,
        image_shape=(28, 28),
        source="MNIST (LeCun & Cortes)",
    )
