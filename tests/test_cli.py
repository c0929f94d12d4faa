"""The command line's own commands: families, verify, study; output parsed, exit codes 0, 1 and 2."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest
from typer.testing import CliRunner

from unigen.cli import app
from unigen.families import FAMILIES
from unigen.relations import relation as relations
from unigen.relations.evidence import Claim
from unigen.study import run as study_run

runner = CliRunner()


def one_line(text: str, error: str) -> bool:
    return text.count("\n") == 1 and text.startswith(f"{error} ") and "Traceback" not in text


def test_families_lists_every_family_with_its_answers():
    done = runner.invoke(app, ["families", "--json"])
    assert done.exit_code == 0
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert list(found) == list(FAMILIES)
    assert found["GAN"]["log_prob"] == "none" and found["PPCA"]["log_prob"] == "exact"
    assert found["VAE"]["posterior"] is True and found["MAF"]["posterior"] is False


def test_families_as_a_table(monkeypatch):
    monkeypatch.setattr("unigen.cli.console.width", 200, raising=False)
    done = runner.invoke(app, ["families"])
    assert done.exit_code == 0
    assert all(name in done.stdout for name in FAMILIES)
    assert "lower bound" in done.stdout and "unnormalised" in done.stdout


def test_verify_reports_numbers_that_hold():
    done = runner.invoke(app, ["verify", "1", "--json"])
    assert done.exit_code == 0
    (found,) = json.loads(done.stdout)
    assert found["id"] == 1 and found["holds"] is True
    assert abs(found["left"] - found["right"]) == pytest.approx(abs(found["gap"]), abs=1e-9)
    assert abs(found["gap"]) <= found["tolerance"]


def test_verify_of_a_broken_theorem_exits_1(monkeypatch):
    real = relations.relation(1)

    class Broken(type(real)):
        def check(self, **_):
            return self.evidence(Claim("wrong by one", left=1.0, right=2.0, tolerance=1e-9))

    monkeypatch.setattr(relations, "relation", lambda _: Broken())
    assert runner.invoke(app, ["verify", "1", "--json"]).exit_code == 1
    table = runner.invoke(app, ["verify", "1"])
    assert table.exit_code == 1 and "NO" in table.stdout


@pytest.mark.parametrize("arguments", [["verify", "99999"], ["study", "mnist"]])
def test_unknown_names_exit_2_in_one_line(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = runner.invoke(app, arguments)
    assert done.exit_code == 2 and one_line(done.stderr, "UnknownNameError"), done.output
    again = runner.invoke(app, [*arguments, "--json"])
    assert again.exit_code == 2 and json.loads(again.stdout)["error"] == "UnknownNameError"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_study_passes_options_on_and_exits_by_its_result(monkeypatch, tmp_path, ok, code):
    seen = {}

    def fake(name, out, **options):
        seen.update(options, name=name, out=out)
        return {"ok": ok, "rows": [float("nan")]}

    monkeypatch.setattr(study_run, "run_study", fake)
    done = runner.invoke(app, ["study", "--out", str(tmp_path), "--quick", "--seed", "3", "--json"])
    assert done.exit_code == code
    assert json.loads(done.stdout) == {"ok": ok, "rows": [None]}
    assert seen == {"name": "digits", "out": tmp_path, "quick": True, "seed": 3, "show": False}


def test_usage_and_help():
    assert runner.invoke(app, ["nothing"]).exit_code == 2
    assert runner.invoke(app, ["fit"]).exit_code == 2
    for command in ("study", "families", "verify", "fit", "sample", "score"):
        done = runner.invoke(app, [command, "--help"])
        assert done.exit_code == 0 and "Example" in done.stdout


def test_the_command_is_installed():
    from importlib.metadata import entry_points

    (point,) = entry_points(group="console_scripts", name="unigen")
    assert point.load() is app
    assert importlib.util.find_spec("unigen.cli") and "unigen.cli" in sys.modules
