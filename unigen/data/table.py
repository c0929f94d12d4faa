"""Read a table of numbers from a file: .npy, .npz (one array), .csv or .tsv, with or without a header."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unigen.errors import ArgumentError, DTypeError, EmptyDataError


def _separated(path: Path, delimiter: str) -> np.ndarray:
    with path.open(encoding="utf-8") as file:
        first = file.readline().strip()
    if not first:
        raise EmptyDataError(site=str(path.name), got="an empty file", expected="rows of numbers")
    try:
        [float(cell) for cell in first.split(delimiter)]
        skip = 0
    except ValueError:
        skip = 1
    try:
        table = np.loadtxt(path, delimiter=delimiter, skiprows=skip, ndmin=2)
    except ValueError as error:
        raise DTypeError(
            str(error),
            site=path.name,
            expected="numbers only below the header",
            hint="drop or encode text columns",
        ) from error
    if table.size == 0:
        raise EmptyDataError(site=path.name, got="a header and no rows", expected="rows of numbers")
    return table


def read_table(path: str | Path) -> np.ndarray:
    """Return the array in a file, first dimension the examples; nothing in the file is ever executed.

    Args:
        path: ``.npy``, ``.npz`` with one array, ``.csv`` or ``.tsv``.

    Raises:
        ArgumentError: The file does not exist, or has another ending.
        DTypeError: It holds something else than numbers.
        EmptyDataError: It holds nothing.
    """
    path = Path(path)
    if not path.is_file():
        raise ArgumentError(f"no such file: {path}")
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv", ".txt"):
        return _separated(path, "\t" if kind == ".tsv" else ",")
    if kind not in (".npy", ".npz"):
        raise ArgumentError(site=path.name, got=kind or "no ending", expected=".npy, .npz, .csv or .tsv")
    try:
        loaded = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DTypeError(str(error), site=path.name, expected="an array of numbers") from error
    if kind == ".npz":
        if len(loaded.files) != 1:
            raise ArgumentError(site=path.name, got=f"arrays {loaded.files}", expected="one array")
        loaded = loaded[loaded.files[0]]
    if loaded.dtype.kind not in "fiub":
        raise DTypeError(site=path.name, got=loaded.dtype, expected="an array of numbers")
    return loaded
