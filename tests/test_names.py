"""The table of public names against what the modules hold."""

from __future__ import annotations

import importlib

import pytest

import unigen
from unigen import names
from unigen.errors import UnknownNameError
from unigen.program import Program

TABLE = {name: module for name, (module, _) in names.FAMILIES.items()} | names.PARTS | names.OTHERS


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_name_is_defined_where_the_table_says(name):
    found = getattr(unigen, name)
    assert found is getattr(importlib.import_module(TABLE[name]), name)
    assert found.__module__ == TABLE[name], (
        "the table names the file that defines it, not one that imports it"
    )


def test_tables_do_not_overlap():
    assert len(TABLE) == len(names.FAMILIES) + len(names.PARTS) + len(names.OTHERS)
    assert sorted({*TABLE, *names.MODULES, "__version__"}) == dir(unigen)


@pytest.mark.parametrize("name", sorted(names.FAMILIES))
def test_families_are_programs_found_in_any_case(name):
    assert issubclass(names.family(name), Program)
    assert names.family(name.lower()) is names.family(name.upper()) is names.resolve(name)


def test_unknown_names_list_the_known():
    with pytest.raises(UnknownNameError, match="one of PCA, PPCA"):
        names.family("PPAC")
    with pytest.raises(UnknownNameError, match=r"one of .*VAE"):
        names.resolve("os.system")
    with pytest.raises(UnknownNameError):
        names.resolve("VAE", {"PPCA": "unigen.models.ppca"})
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        unigen.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("wrong", "right"), [("ppac", "PPCA"), ("Vea", "VAE"), ("gaussianmixtur", "GaussianMixture")]
)
def test_a_misspelt_family_gets_a_suggestion(wrong, right):
    with pytest.raises(UnknownNameError, match=rf"Try: did you mean '{right}'\?"):
        names.family(wrong)


def test_a_name_like_none_gets_the_list():
    with pytest.raises(UnknownNameError, match="Try: unigen families"):
        names.family("quux")
    with pytest.raises(UnknownNameError, match="one of ") as caught:
        names.resolve("quux", {"PPCA": "unigen.models.ppca"})
    assert caught.value.hint is None
    with pytest.raises(AttributeError, match=r"no attribute 'PPAC'; did you mean 'PPCA'\?"):
        unigen.PPAC  # noqa: B018
    with pytest.raises(AttributeError, match=r"see dir\(unigen\)"):
        unigen.quux  # noqa: B018
