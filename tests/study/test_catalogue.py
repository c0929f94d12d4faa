"""The rows of the study: distinct, constructible, and every measured relation's rows exist."""

from __future__ import annotations

import inspect

import pytest

from unigen.families import FAMILIES
from unigen.inference.fit import fit
from unigen.program import Program
from unigen.relations.relation import relation
from unigen.study.catalogue import MEASURED, entries, entry
from unigen.study.worker import slug

ROWS = {each.name: each for each in entries()}


def test_titles_and_files_are_distinct():
    assert len(ROWS) == len(entries()) == len({slug(name) for name in ROWS})
    assert entry("VAE").name == "VAE"


def test_every_family_has_a_row():
    built = {type(each.build(64)).__name__ for each in entries()}
    assert built == set(FAMILIES)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_rows_can_be_built_and_their_options_are_known(name):
    row = ROWS[name]
    program = row.build(64)
    assert isinstance(program, Program) and program.event_shape.numel() == 64
    assert set(row.fit) <= set(inspect.signature(fit).parameters)
    assert row.quick is None or row.quick < row.fit.get("steps", program.recipe.steps)


@pytest.mark.parametrize(("number", "names"), MEASURED)
def test_measured_relations_fit_their_rows(number, names):
    programs = [ROWS[name].build(64) for name in names]
    found = relation(number)
    assert found.arrange(programs[0], programs[1] if len(programs) > 1 else None) is not None
