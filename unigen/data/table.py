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


def _check_separator(first: str, delimiter: str, name: str) -> None:
    """Refuse a table whose columns are separated by another character than the file's ending says.

    Raises:
        DTypeError: They are.
    """
    others = [c for c in (";", "\t", ",") if c != delimiter and c in first]
    if others and (delimiter not in first or others[0] == ";"):
        remedy = {
            ";": "pandas.read_csv(path, sep=';').to_csv('commas.csv', index=False), with decimal=',' if need be",
            "\t": "rename it to .tsv",
            ",": "rename it to .csv",
        }
        raise DTypeError(
            "the columns are separated by another character", site=name, got=f"line 1: {first[:60]!r}",
            expected=f"columns separated by {delimiter!r}", hint=remedy[others[0]],
        )  # fmt: skip


def _complain(rows: list[tuple[int, str]], header: list[str], delimiter: str, name: str) -> None:
    """Say which cell of a table is no number.

    Args:
        rows: Line numbers and lines below the header.
        header: Names of the columns, empty if there are none.
        delimiter: Between cells.
        name: Of the file.

    Raises:
        DTypeError: An empty cell, text, or a line of another length.
    """
    width = len(header) or len(rows[0][1].split(delimiter))
    for line, text in rows:
        cells = [cell.strip() for cell in text.split(delimiter)]
        if len(cells) != width:
            raise DTypeError(
                f"line {line} has another number of cells than line 1", site=name, got=len(cells),
                expected=width, hint="one row a line; no separators inside a cell",
            )  # fmt: skip
        for column, cell in enumerate(cells):
            named = f" ('{header[column].strip()}')" if header else ""
            where = f"line {line}, column {column + 1}{named}"
            if not cell:
                raise DTypeError(
                    f"{where} is empty", site=name, expected="a number",
                    hint="fill the cell, drop the row, or write nan where the family takes missing values",
                )  # fmt: skip
            if not _is_number(cell):
                raise DTypeError(
                    f"{where} is no number", site=name, got=repr(cell[:40]), expected="numbers below a header",
                    hint="drop the column, or encode its categories: pandas.get_dummies",
                )  # fmt: skip


def _separated(path: Path, delimiter: str) -> np.ndarray:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        got = "bytes that are no text"
        raise DTypeError(site=path.name, got=got, expected="a UTF-8 text file") from error
    rows = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not rows:
        raise EmptyDataError(site=path.name, got="an empty file", expected="rows of numbers")
    _check_separator(rows[0][1], delimiter, path.name)
    first = rows[0][1].split(delimiter)
    header = [] if any(_is_number(cell) for cell in first) else first
    rows = rows[1:] if header else rows
    if not rows:
        raise EmptyDataError(site=path.name, got="a header and no rows", expected="rows of numbers")
    try:
        return np.loadtxt([line for _, line in rows], delimiter=delimiter, ndmin=2, comments=None)
    except ValueError as error:
        _complain(rows, header, delimiter, path.name)
        raise DTypeError(str(error), site=path.name, expected="numbers only below the header") from error


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
