"""Tables of mixed types from a .csv file or a data frame: numbers, classes and counts, one number a cell.

Text and truth values become indices of their sorted levels; an empty cell, ``nan`` or ``NA`` is missing, NaN.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unigen.distributions.columns import Columns
from unigen.distributions.count_likelihoods import NegativeBinomial, Poisson
from unigen.distributions.likelihoods import Bernoulli, Categorical, Gaussian, Likelihood
from unigen.errors import ArgumentError, DTypeError, EmptyDataError

MISSING = ("", "nan", "na", "none", "<na>")
LEVELS = 100  # of a column of text


def _number(cell: object) -> float | None:
    """Return a cell as a number, NaN where missing, or None for text and truth values."""
    if isinstance(cell, bool) or type(cell).__name__ == "bool_":
        return None
    try:
        return math.nan if str(cell).strip().lower() in MISSING else float(str(cell))
    except ValueError:
        return None


def _guess(x: Tensor) -> Likelihood:
    """Return a likelihood for a column of numbers, NaN where missing."""
    seen = x[~x.isnan()]
    if bool(((seen == 0) | (seen == 1)).all()):
        return Bernoulli()
    if bool(((seen >= 0) & (seen == seen.round())).all()):
        return Poisson() if float(seen.var(correction=0)) <= 1.5 * float(seen.mean()) else NegativeBinomial()
    return Gaussian("network")


@dataclass(frozen=True)
class MixedTable:
    """A table as numbers.

    Args:
        x: Shape (N, D), NaN where missing.
        names: Of the D columns.
        kinds: A likelihood for each column; two columns never share one.
        levels: The levels of each column of text, in the order of their indices.
    """

    x: Tensor
    names: tuple[str, ...]
    kinds: dict[str, Likelihood] = field(repr=False)
    levels: dict[str, tuple[str, ...]]

    def likelihood(self) -> Columns:
        """Return the likelihood of a row, for one program: ``VAE(D, likelihood=table.likelihood())``."""
        return Columns(self.kinds)

    def cells(self, x: Tensor) -> list[list[Any]]:
        """Return rows (N, D) as cells, indices replaced by their levels and NaN by None."""
        return [
            [
                None if math.isnan(v) else self.levels[name][round(v)] if name in self.levels else v
                for name, v in zip(self.names, row, strict=True)
            ]
            for row in x.tolist()
        ]


def _check_names(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ArgumentError("two columns have one name", site="source", got=twice, expected="a name each")


def _source(source: Any) -> tuple[tuple[str, ...], list[Sequence[object]]]:
    """Return the names and the columns of a data frame or of a file with a header."""
    if hasattr(source, "columns") and hasattr(source, "__getitem__"):
        names = [str(name) for name in source.columns]
        _check_names(names)
        return tuple(names), [source[name].tolist() for name in source.columns]
    path = Path(source)
    if not path.is_file() or path.suffix.lower() != ".csv":
        raise ArgumentError(site="source", got=str(source), expected="a .csv file or a data frame")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if len(rows) < 2:
        raise EmptyDataError(site=path.name, got=f"{len(rows)} lines", expected="a header and rows")
    odd = next((i for i, row in enumerate(rows) if len(row) != len(rows[0])), None)
    if odd is not None:
        raise DTypeError(
            f"row {odd} has another number of cells than the header", site=path.name, got=len(rows[odd]),
            expected=len(rows[0]),
        )  # fmt: skip
    _check_names([name.strip() for name in rows[0]])
    return tuple(name.strip() for name in rows[0]), list(zip(*rows[1:], strict=True))


def _column(name: str, column: Sequence[object]) -> tuple[Tensor, tuple[str, ...]]:
    """Return a column as numbers, and its levels if it holds text."""
    cells, levels = [_number(cell) for cell in column], []
    if any(cell is None for cell in cells):
        words = [str(cell).strip() for cell in column]
        levels = sorted({word for word in words if word.lower() not in MISSING})
        if len(levels) > LEVELS:
            got, hint = f"{len(levels)} levels", "drop the column"
            raise DTypeError(site=name, got=got, expected=f"at most {LEVELS}", hint=hint)
        index = {word: float(k) for k, word in enumerate(levels)}
        cells = [index.get(word, math.nan) for word in words]
    x = torch.tensor([math.nan if cell is None else cell for cell in cells], dtype=torch.float64)
    if bool(x.isnan().all()):
        raise EmptyDataError(site=name, got="a column without a value", hint="drop it")
    return x, tuple(levels)


def mixed_table(source: Any, kinds: dict[str, Likelihood] | None = None) -> MixedTable:
    r"""Read a table of mixed types and choose a likelihood for each column.

    Text of two levels is binary, of more categorical; 0 / 1 are binary, other integers ≥ 0 counts (Poisson, or negative
    binomial where their variance is above 1.5 means), other numbers Gaussian with a scale from the network.

    Args:
        source: A ``.csv`` file with a header, or a data frame.
        kinds: Likelihoods by name, in place of those chosen: an age in years is no count.

    Returns:
        The table, x of torch's default dtype.

    Raises:
        ArgumentError: No such file, two columns of one name, or ``kinds`` names no column.
        EmptyDataError: No rows, or a column without a value.
        DTypeError: Rows of another length than the header, or text with more than 100 levels.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "a.csv"
        ...     _ = path.write_text("age,kind\n41.5,b\n29,a\n,c\n")
        ...     table = mixed_table(path)
        >>> table.x.tolist(), table.levels
        ([[41.5, 1.0], [29.0, 0.0], [nan, 2.0]], {'kind': ('a', 'b', 'c')})
    """
    names, columns = _source(source)
    chosen = {} if kinds is None else dict(kinds)
    strange = sorted(set(chosen) - set(names))
    if strange:
        raise ArgumentError(site="kinds", got=strange, expected=f"names among {list(names)}")
    read = {name: _column(name, column) for name, column in zip(names, columns, strict=True)}
    levels = {name: words for name, (_, words) in read.items() if words}
    for name, (x, words) in read.items():
        guess = Categorical(len(words)) if len(words) > 2 else _guess(x)
        chosen[name] = chosen.get(name, guess)
    x = torch.stack([x for x, _ in read.values()], 1).to(torch.get_default_dtype())
    return MixedTable(x, names, {name: chosen[name] for name in names}, levels)
