"""Read a table of numbers from a file: .npy, .npz (one array), .csv or .tsv, with or without a header."""

from __future__ import annotations

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from unigen.errors import ArgumentError, DTypeError, EmptyDataError


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _separated(path: Path, delimiter: str) -> np.ndarray:
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DTypeError(
            site=path.name, got="bytes that are no text", expected="a UTF-8 text file"
        ) from error
    if not lines:
        raise EmptyDataError(site=path.name, got="an empty file", expected="rows of numbers")
    numeric = [_is_number(cell) for cell in lines[0].split(delimiter)]
    if any(numeric) and not all(numeric):
        raise DTypeError(
            site=path.name,
            got=f"text beside numbers in the first row: {lines[0][:60]}",
            expected="numbers, or a header of names",
            hint="drop or encode text columns, fill empty cells",
        )
    lines = lines if all(numeric) else lines[1:]
    if not lines:
        raise EmptyDataError(site=path.name, got="a header and no rows", expected="rows of numbers")
    try:
        return np.loadtxt(lines, delimiter=delimiter, ndmin=2, comments=None)
    except ValueError as error:
        raise DTypeError(
            str(error),
            site=path.name,
            expected="numbers only below the header",
            hint="drop or encode text columns",
        ) from error


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
    if kind in (".csv", ".tsv"):
        return _separated(path, "\t" if kind == ".tsv" else ",")
    if kind not in (".npy", ".npz"):
        raise ArgumentError(site=path.name, got=kind or "no ending", expected=".npy, .npz, .csv or .tsv")
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                if len(loaded.files) != 1:
                    raise ArgumentError(site=path.name, got=f"arrays {loaded.files}", expected="one array")
                loaded = loaded[loaded.files[0]]
    except ArgumentError:
        raise
    except (ValueError, OSError, EOFError, BadZipFile, zlib.error) as error:
        raise DTypeError(
            f"no array can be read: {error}", site=path.name, expected="an array of numbers"
        ) from error
    if loaded.dtype.kind not in "fiub":
        raise DTypeError(site=path.name, got=loaded.dtype, expected="an array of numbers")
    if loaded.ndim == 0:
        raise EmptyDataError(site=path.name, got="a single number", expected="rows of numbers")
    return loaded
