"""README.md's Python blocks run as they stand, with fewer steps, and print what the comments beside them say."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch

from unigen.families import FAMILIES
from unigen.names import family
from unigen.program import Program
from unigen.recipe import Recipe

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    for kind in {Program, *map(family, FAMILIES)}:
        if "recipe" in vars(kind):
            monkeypatch.setattr(kind, "recipe", dataclasses.replace(kind.recipe, steps=5))
        assert issubclass(kind, Program) and isinstance(kind.recipe, Recipe)
    for name in ("RealNVP", "NSF", "MAF"):
        monkeypatch.setattr(family(name), "recipe", dataclasses.replace(family(name).recipe, steps=5))


def run(block: str, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, object], list[str]]:
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(block.replace("steps=200", "steps=5"), "README.md", "exec"), names)
    return names, capsys.readouterr().out.splitlines()


def test_there_are_two_blocks():
    assert len(BLOCKS) == 2 and README.count("```python") == 2


def test_the_first_block(capsys):
    names, lines = run(BLOCKS[0], capsys)
    said = [line for line in lines if line.startswith("LogProb(")]
    assert "kind=exact" in said[0] and "kind=lower bound" in said[1]
    assert any("p(x, z) = p(x | z) p_NSF(z);  q(z | x)" in line for line in lines)
    assert any("source: Tipping & Bishop" in line for line in lines)
    assert any("not measured here: VAE" in line and "linear_vae" in line for line in lines)
    assert tuple(names["idata"]["posterior"]["z"].shape) == (1, 100, 250, 8)


def test_the_users_own_program(capsys):
    names, lines = run(BLOCKS[1], capsys)
    assert "p(x, z) = p(x | z) p(z);  q(z | x)" in lines[0]
    assert lines[-1].startswith("torch.Size([3, 5]) LogProb(") and "kind=lower bound" in lines[-1]
    assert isinstance(names["program"], Program) and names["program"].fitted
    assert torch.isfinite(names["program"].log_prob(torch.zeros(1, 5)).value).all()


def test_commands_and_links_exist():
    from typer.main import get_command

    from unigen.cli import app

    known = set(get_command(app).commands)
    used = set(re.findall(r"^unigen (\w+)", README, re.MULTILINE))
    assert used and used <= known
    targets = set(re.findall(r"^make (\w+)", README, re.MULTILINE)) | set(re.findall(r"`make (\w+)", README))
    rules = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets and targets <= rules
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
