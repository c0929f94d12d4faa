"""fit, sample and score from files, against the same work done in Python; bad input writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from unigen.cli import app
from unigen.inference.persist import load, save
from unigen.models.gan import GAN
from unigen.models.ppca import PPCA

runner = CliRunner()


def invoke(*arguments: object):
    return runner.invoke(app, [str(a) for a in arguments])


def refused(done, error: str) -> None:
    """Exit code 2 and one line that begins with the error's type."""
    assert done.exit_code == 2, (done.output, done.exception)
    assert done.stderr.startswith(f"{error} ") and done.stderr.count("\n") == 1, done.stderr


def table(path: Path, rows: int = 60) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(rows, 3)) * [3.0, 2.0, 1.0]
    np.savetxt(path, x, delimiter=",", header="a,b,c", comments="")
    return x


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A fitted PPCA as `unigen fit` leaves it."""
    table(tmp_path / "x.csv")
    out = tmp_path / "run"
    done = invoke("fit", "ppca", tmp_path / "x.csv", "--out", out, "--set", "latents=1", "--validation", 0)
    assert done.exit_code == 0, (done.output, done.exception)
    return out


def test_fit_equals_the_closed_form(run, tmp_path):
    x = torch.from_numpy(np.loadtxt(tmp_path / "x.csv", delimiter=",", skiprows=1)).float()
    direct = PPCA(3, 1)
    direct.solve(x)
    fitted = load(run / "program.safetensors")
    assert fitted.fitted and type(fitted) is PPCA
    assert fitted.log_prob(x).value.sum().item() == pytest.approx(
        direct.log_prob(x).value.sum().item(), rel=1e-5
    )
    record = json.loads((run / "record.json").read_text())
    assert (record["family"], record["examples"], record["features"]) == ("ppca", 60, 3)
    assert record["stopped"] == "solved in closed form"


def test_a_seed_reproduces_a_gradient_fit_and_json_says_what_it_did(tmp_path):
    table(tmp_path / "x.csv")
    states = []
    for name in ("one", "two"):
        done = invoke("fit", "VAE", tmp_path / "x.csv", "--out", tmp_path / name, "--set", "hidden=[4]",
                      "--set", "latents=1", "--steps", 3, "--seed", 7, "--json")  # fmt: skip
        assert done.exit_code == 0, (done.output, done.exception)
        said = json.loads(done.stdout)
        assert said["steps"] == 3 and said["formula"] == "p(x, z) = p(x | z) p(z);  q(z | x)"
        states.append(load(tmp_path / name / "program.safetensors").state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_resume_continues(tmp_path):
    table(tmp_path / "x.csv")
    common = ["fit", "VAE", tmp_path / "x.csv", "--set", "hidden=[4]", "--seed", 1, "--validation", 0]
    assert invoke(*common, "--out", tmp_path / "whole", "--steps", 4).exit_code == 0
    assert invoke(*common, "--out", tmp_path / "parts", "--steps", 2).exit_code == 0
    done = invoke(*common, "--out", tmp_path / "parts", "--steps", 4, "--resume", "--json")
    assert json.loads(done.stdout)["steps"] == 4
    one, two = (load(tmp_path / name / "program.safetensors").state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("ending", ["npy", "csv"])
def test_sample_writes_the_programs_draws(run, tmp_path, ending):
    out = tmp_path / f"draws.{ending}"
    done = invoke("sample", run, "--out", out, "-n", 5, "--seed", 3, "--json")
    assert json.loads(done.stdout) == {"out": str(out), "shape": [5, 3]}
    found = np.load(out) if ending == "npy" else np.loadtxt(out, delimiter=",")
    expected = load(run / "program.safetensors").sample(5, seed=3)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)


def test_score_gives_the_exact_mean_and_its_kind(run, tmp_path):
    out = tmp_path / "score.npy"
    done = invoke("score", run, tmp_path / "x.csv", "--out", out, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    said = json.loads(done.stdout)
    x = torch.from_numpy(np.loadtxt(tmp_path / "x.csv", delimiter=",", skiprows=1)).float()
    expected = load(run / "program.safetensors").log_prob(x)
    assert (said["kind"], said["unit"], said["n"]) == ("exact", "nats", 60)
    assert said["mean"] == pytest.approx(expected.mean().value)
    np.testing.assert_allclose(np.load(out), expected.value.detach().numpy(), rtol=1e-6)
    assert "exact" in invoke("score", run, tmp_path / "x.csv").stdout


BAD = {
    "text": ("a,b\n1,red\n", "DTypeError"),
    "nan": ("a,b,c\n1,nan,2\n3,4,5\n", "NonFiniteError"),
    "empty": ("", "EmptyDataError"),
    "ragged": ("1,2,3\n4,5\n", "DTypeError"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_tables_are_refused_and_nothing_is_written(tmp_path, run, name):
    content, error = BAD[name]
    path, out = tmp_path / "bad.csv", tmp_path / "out"
    path.write_text(content)
    before = sorted(tmp_path.rglob("*"))
    refused(invoke("fit", "PPCA", path, "--out", out), error)
    refused(invoke("score", run, path, "--out", tmp_path / "s.npy"), error)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["PPAC"], "UnknownNameError"),
        (["PPCA", "--set", "latents"], "ArgumentError"),
        (["PPCA", "--set", "latent=1"], "ArgumentError"),
        (["PPCA", "--set", "latents=3"], "ArgumentError"),
        (["PPCA", "--set", "latents=many"], "ArgumentError"),
        (["VAE", "--set", "likelihood=Gaussian"], "ArgumentError"),
        (["PPCA", "--set", "features=4"], "ShapeError"),
        (["VAE", "--steps", "0"], "ArgumentError"),
        (["VAE", "--validation", "1"], "ArgumentError"),
    ],
)
def test_bad_options_are_refused_and_nothing_is_written(tmp_path, arguments, error):
    table(tmp_path / "x.csv", rows=8)
    family, *rest = arguments
    refused(invoke("fit", family, tmp_path / "x.csv", "--out", tmp_path / "deep" / "out", *rest), error)
    assert not (tmp_path / "deep" / "out").exists()


def test_places_that_cannot_be_written(tmp_path, run):
    refused(invoke("fit", "PPCA", tmp_path / "x.csv", "--out", tmp_path / "x.csv"), "ArgumentError")
    for out in (tmp_path / "none" / "x.npy", tmp_path / "x.png", tmp_path / "run"):
        refused(invoke("sample", run, "--out", out), "ArgumentError")
        refused(invoke("score", run, tmp_path / "x.csv", "--out", out), "ArgumentError")
    refused(invoke("sample", run, "--out", tmp_path / "d.npy", "-n", 0), "ArgumentError")
    assert not (tmp_path / "d.npy").exists()


def test_another_feature_count_is_refused(tmp_path, run):
    np.save(tmp_path / "wide.npy", np.zeros((4, 5)))
    refused(invoke("score", run, tmp_path / "wide.npy"), "ShapeError")


def test_damaged_programs_are_refused(tmp_path, run):
    file = run / "program.safetensors"
    content = file.read_bytes()
    flipped = bytearray(content)
    flipped[-3] ^= 1
    for damage in (content[:-10], content[:5], bytes(flipped), b""):
        file.write_bytes(damage)
        refused(invoke("sample", run, "--out", tmp_path / "d.npy"), "CheckpointError")
        refused(invoke("score", run, tmp_path / "x.csv"), "CheckpointError")
    file.unlink()
    refused(invoke("score", run, tmp_path / "x.csv"), "CheckpointError")
    assert not (tmp_path / "d.npy").exists()


def test_a_gan_has_no_score_but_draws(tmp_path, run):
    path = save(GAN(3, latents=2, hidden=(4,)), tmp_path / "gan.safetensors")
    done = invoke("score", path, tmp_path / "x.csv", "--out", tmp_path / "s.npy", "--json")
    refused(done, "NoDensityError")
    assert json.loads(done.stdout)["error"] == "NoDensityError" and not (tmp_path / "s.npy").exists()
    assert invoke("sample", path, "--out", tmp_path / "d.npy", "-n", 2).exit_code == 0


def test_a_run_is_replaced_only_when_asked(tmp_path):
    np.save(tmp_path / "x.npy", np.random.RandomState(0).randn(20, 3))
    fit = ("fit", "PPCA", tmp_path / "x.npy", "--out", tmp_path / "run", "--set", "latents=1")
    assert invoke(*fit).exit_code == 0
    refused(invoke(*fit), "ArgumentError")
    assert invoke(*fit, "--force").exit_code == 0


def test_a_game_is_fitted_without_held_out_rows(tmp_path):
    np.save(tmp_path / "x.npy", np.random.RandomState(0).randn(20, 3))
    done = invoke("fit", "GAN", tmp_path / "x.npy", "--out", tmp_path / "run", "--steps", 2)
    assert done.exit_code == 0, done.output


def test_a_misspelt_option_or_family_gets_a_suggestion(tmp_path):
    table(tmp_path / "x.csv")
    done = invoke("fit", "ppca", tmp_path / "x.csv", "--out", tmp_path / "run", "--set", "latent=1")
    refused(done, "ArgumentError")
    assert (
        "argument 'latent': got an unknown option" in done.stderr and "did you mean 'latents'?" in done.stderr
    )
    done = invoke("fit", "ppac", tmp_path / "x.csv", "--out", tmp_path / "run")
    refused(done, "UnknownNameError")
    assert "did you mean 'PPCA'?" in done.stderr


def test_a_family_made_of_programs_is_constructed_in_python(tmp_path):
    table(tmp_path / "x.csv")
    done = invoke("fit", "mixture", tmp_path / "x.csv", "--out", tmp_path / "run")
    refused(done, "ArgumentError")
    assert "construct it in Python" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_cell_that_is_no_number_is_named_by_its_line(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,red\n")
    done = invoke("fit", "ppca", tmp_path / "x.csv", "--out", tmp_path / "run")
    refused(done, "DTypeError")
    assert "file 'x.csv': line 3, column 2 ('b') is no number; got 'red'" in done.stderr
