"""Pieces of the report: numbers with errors, signs of kinds, text escaped."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from unigen.study import report
from unigen.study.worker import Row


def test_numbers():
    assert report._number(None) == "–"
    assert report._number(1.23456, 3) == "1.235"
    assert report._number(1.0, 1, 0.25) == "1.0<small> ± 0.2</small>"


@pytest.mark.parametrize(
    ("kind", "sign"), [("exact", "="), ("lower bound", "≥"), ("estimate", "≈"), ("unnormalised", "∝")]
)
def test_kinds_carry_their_sign(kind, sign):
    row = asdict(Row("A", family="A", kind=kind, nats=-1.5, stderr=0.5))
    assert f">{sign} {kind}<" in report._kind(row)
    cells = report._table([row])
    assert ("-1.50<small> ± 0.50</small>" in cells) is (kind != "unnormalised")


def test_failing_rows_stand_in_the_table_and_have_no_section(tmp_path):
    row = asdict(Row("A & B", family="A", error="ShapeError: <x>"))
    assert '<td colspan="9" class="error">ShapeError: &lt;x&gt;</td>' in report._table([row])
    assert report._section(row, tmp_path) == ""


def test_evidence_says_whether_it_holds():
    claims = {"claims": [{"text": "1 < 2", "holds": True}], "details": {"n": "5"}}
    text = report._evidence("Example", {"holds": True} | claims)
    assert "holds</b>" in text and "1 &lt; 2\nn: 5" in text
    assert "does not hold" in report._evidence("Example", {"holds": False} | claims)
