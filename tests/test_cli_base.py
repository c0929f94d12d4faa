"""What all commands share: a deliberate error becomes one line and exit code 2, any other is not hidden."""

from __future__ import annotations

import json

import pytest
import typer

from unigen.cli_base import emit, guarded
from unigen.errors import ShapeError

ERROR = ShapeError("a long story\nover lines " + "word " * 60, got="(3, [5])", expected="(N, 64)")


def fails(**_) -> None:
    raise ERROR


@pytest.mark.parametrize("as_json", [False, True])
def test_deliberate_errors(capsys, as_json):
    with pytest.raises(typer.Exit) as stop:
        guarded(fails)(json=as_json)
    assert stop.value.exit_code == 2
    out, err = capsys.readouterr()
    assert err == f"ShapeError {' '.join(str(ERROR).split())}\n"  # one line, brackets and all
    assert (json.loads(out) == {"error": "ShapeError", "message": str(ERROR)}) if as_json else out == ""


def test_other_errors_are_not_hidden():
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        guarded(broken)()


def test_emit_writes_json_that_every_reader_accepts(capsys):
    emit({"a": [1, float("nan")]})
    assert json.loads(capsys.readouterr().out, parse_constant=lambda _: pytest.fail("NaN")) == {
        "a": [1, None]
    }
