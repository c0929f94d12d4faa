"""Tables of mixed types: from a file and from a data frame alike, kinds, levels, missing cells, refusals."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

import unigen as ug
from unigen.data.mixed_table import mixed_table
from unigen.errors import ArgumentError, DTypeError, EmptyDataError

FRAME = pd.DataFrame(
    {
        "income": [1200.5, 800.0, None, 3100.25],
        "sex": ["f", "m", None, "f"],
        "kind": ["a", "c", "b", "a"],
        "visits": [3, 0, 12, 1],
        "ill": [0, 1, 1, 0],
        "insured": [True, False, True, True],
        "faults": [2, 3, 2, 2],
    }
)


@pytest.mark.parametrize("source", ["file", "frame"])
def test_a_file_and_a_frame_are_the_same_table(source, tmp_path):
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    table = mixed_table(FRAME if source == "frame" else tmp_path / "t.csv")
    nan = math.nan
    expected = [
        [1200.5, 0, 0, 3, 0, 1, 2], [800, 1, 2, 0, 1, 0, 3], [nan, nan, 1, 12, 1, 1, 2], [3100.25, 0, 0, 1, 0, 1, 2],
    ]  # fmt: skip
    assert torch.equal(table.x.nan_to_num(-7), torch.tensor(expected).nan_to_num(-7))
    assert table.levels == {"sex": ("f", "m"), "kind": ("a", "b", "c"), "insured": ("False", "True")}
    kinds = ["Gaussian", "Bernoulli", "Categorical", "NegativeBinomial", "Bernoulli", "Bernoulli", "Poisson"]
    assert [type(table.kinds[name]).__name__ for name in table.names] == kinds
    assert table.cells(table.x)[2] == [None, None, "b", 12.0, 1.0, "True", 2.0]


def test_a_table_trains_a_vae():
    table = mixed_table(FRAME, {"visits": ug.Poisson()})
    assert type(table.kinds["visits"]).__name__ == "Poisson"
    vae = ug.with_missing(ug.VAE(7, 2, likelihood=table.likelihood(), hidden=(8,)), fill="mean")
    ug.fit(vae, table.x, steps=3, seed=0)
    cells = table.cells(vae.sample(5))
    assert all(row[2] in "abc" and row[5] in ("True", "False") for row in cells)


def test_bad_tables_are_refused(tmp_path):
    path = tmp_path / "t.csv"
    with pytest.raises(ArgumentError, match="a data frame"):
        mixed_table(path)
    for text, error in (("a,b\n", EmptyDataError), ("a,b\n1,2\n3\n", DTypeError), ("a,b\n1,\n2,\n", EmptyDataError),
                        ("a,a\n1,2\n", ArgumentError)):  # fmt: skip
        path.write_text(text)
        with pytest.raises(error):
            mixed_table(path)
    path.write_text("a\n" + "\n".join(f"w{i}" for i in range(101)))
    with pytest.raises(DTypeError, match="at most 100"):
        mixed_table(path)
    with pytest.raises(ArgumentError, match="kinds"):
        mixed_table(FRAME, {"colour": ug.Gaussian()})
