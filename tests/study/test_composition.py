"""The composition matrix as data: its axes, its cells, and the tables of the guide made of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from unigen.study.composition import DECODERS, FEATURES, POSTERIORS, PRIORS, cell, cells, data

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "compose.md"


def test_the_axes_are_those_of_the_matrix():
    assert (len(PRIORS), len(POSTERIORS), len(DECODERS)) == (8, 4, 5)
    assert len(set(cells())) == 160


@pytest.mark.parametrize("decoder", DECODERS)
def test_data_lie_in_the_support(decoder: str):
    x, vae = data(decoder, 50), cell("Gaussian", "mean-field", decoder)
    assert x.shape == (50, FEATURES) and bool(vae.support.check(x).all())


def test_the_tables_have_a_row_a_part_and_stand_on_the_page():
    spec = importlib.util.spec_from_file_location(
        "composition_table", PAGE.parents[1] / "composition_table.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before = torch.get_rng_state()
    tables = module.composition_tables()
    assert torch.equal(torch.get_rng_state(), before)
    page = PAGE.read_text()
    assert all(f"{{{{ {name} }}}}" in page for name in tables)
    matrix = [line.split(" | ") for line in tables["composition_matrix"].splitlines()]
    assert len(matrix) == 2 + 8 and {len(row) for row in matrix} == {3 + 5}
    kinds = {row[0].strip("|* "): {each.strip("| ") for each in row[3:]} for row in matrix[2:]}
    assert kinds == {prior: {"lower bound"} for prior in PRIORS} | {"energy": {"unnormalised"}}
    assert len(tables["composition_posteriors"].splitlines()) == 2 + 4
    assert len(tables["composition_decoders"].splitlines()) == 2 + 5
