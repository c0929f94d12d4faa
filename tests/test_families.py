"""The list of families against the modules that define them."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from unigen import models
from unigen.densities.flow import FlowProgram
from unigen.families import FAMILIES, TERMS, term
from unigen.program import Program


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_defined_in_its_own_module_and_described_in_a_line(name):
    module, what = FAMILIES[name]
    found = getattr(importlib.import_module(module), name)
    assert issubclass(found, Program) and found.__module__ == module
    assert what and "\n" not in what and not what.endswith(".")


def test_the_modules_are_files_of_models():
    files = {f"unigen.models.{each.name}" for each in pkgutil.iter_modules(models.__path__)}
    assert {module for module, _ in FAMILIES.values()} <= files


def test_a_base_class_has_a_readers_word():
    assert term("FlowProgram") == "Flow" and term("PPCA") == "PPCA"
    assert {FlowProgram.__name__: "Flow"} == TERMS
    assert not set(TERMS) & set(FAMILIES)
