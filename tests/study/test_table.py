"""The table of families: what it says is what the programs do, and README.md holds it word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from unigen.errors import NoDensityError, UnsupportedQueryError
from unigen.families import FAMILIES
from unigen.study.table import all_answers, answers, family_table, smallest

README = Path(__file__).parent.parent.parent / "README.md"


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"Diffusion", "DDPM"}))
def test_answers_are_what_the_queries_do(name):
    said, program = answers(name), smallest(name)
    x = program.sample(2)
    assert (said.name, said.formula, said.module) == (name, program.formula, type(program).__module__)
    if said.log_prob == "none":
        with pytest.raises(NoDensityError):
            program.log_prob(x)
    else:
        assert str(program.log_prob(x).kind) == said.log_prob
    if said.posterior:
        assert program.encode(x).shape[0] == 2
    else:
        with pytest.raises(UnsupportedQueryError):
            program.posterior(x)


def test_known_facts():
    said = {
        each.name: (each.log_prob, each.posterior, each.objective, each.sampler) for each in all_answers()
    }
    assert list(said) == list(FAMILIES)
    assert said["PPCA"] == ("exact", True, "ClosedForm", "ancestral")
    assert said["PCA"] == ("none", True, "LeastSquares", "ancestral")
    assert said["VAE"] == ("lower bound", True, "ELBO", "ancestral")
    assert said["WGAN"] == ("none", False, "Adversarial(Wasserstein)", "ancestral")
    assert said["EnergyModel"][:2] == ("unnormalised", False)
    assert said["Diffusion"][0] == "exact" and said["DDPM"][0] == "lower bound"


def test_readme_holds_exactly_this_table():
    """Regenerate it with ``python -m unigen.study.table``."""
    lines = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert "\n".join(lines) == family_table()
