"""Relation 9: score matching's floor, and the divergence left out on purpose."""

from __future__ import annotations

import pytest
import torch

from unigen.errors import UnsupportedQueryError
from unigen.models.energy import EnergyModel
from unigen.models.mixture import GaussianMixture
from unigen.relations.explicit_score_matching import ExplicitScoreMatching

RELATION = ExplicitScoreMatching()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["floor"] == pytest.approx(-9.879434, abs=1e-6)


def test_other_mixtures():
    assert RELATION.check(distance=0.5, variance=0.5, temperature=0.7).holds


class WithoutDivergence(ExplicitScoreMatching):
    """½‖s‖² alone, as copied teaching code has it."""

    def terms(self, program, x):
        return 0.5 * program.score(x).square().sum(1)


def test_a_broken_identity_is_seen():
    assert not WithoutDivergence().check().holds
    mixture = GaussianMixture(2, 2).double()
    assert not WithoutDivergence().check_programs(mixture, mixture, torch.randn(50, 2)).holds


def test_programs():
    mixture = GaussianMixture(2, 3).double()
    evidence = RELATION.check_programs(mixture, mixture, torch.randn(50, 2))
    assert evidence.holds and "on_the_data" in evidence.details, evidence
    with pytest.raises(UnsupportedQueryError, match="draws exactly"):
        RELATION.check_programs(EnergyModel(2), EnergyModel(2), torch.randn(5, 2))


def test_figure():
    (axes,) = RELATION.figure().axes
    whole, alone = (torch.as_tensor(line.get_ydata()) for line in axes.lines[:2])
    assert int(whole.argmin()) in range(4, 7)  # temperature 1
    assert int(alone.argmin()) == len(alone) - 1  # flatter is always better without the divergence
