"""Relation 28: mean field against the exact Ising model, and the identity broken on purpose."""

from __future__ import annotations

import pytest
import torch

from tests.boltzmann_problems import random_ising
from unigen.errors import UnsupportedQueryError
from unigen.models.ising import Ising
from unigen.relations.mean_field_ising import MeanFieldToIsing

RELATION = MeanFieldToIsing()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["log_z"] == pytest.approx(8.714412, abs=5e-7)
    assert evidence.details["mean_field"] == pytest.approx(8.019951, abs=5e-7)


@pytest.mark.parametrize(("rows", "columns", "coupling"), [(2, 4, -0.7), (4, 3, 0.2), (1, 6, 1.5)])
def test_other_grids(rows, columns, coupling):
    evidence = RELATION.check(rows=rows, columns=columns, coupling=coupling, field=-0.4, seed=3)
    assert evidence.holds, evidence


class PairsTwice(MeanFieldToIsing):
    """Counts every pair twice."""

    def elbo(self, spins, m):
        return super().elbo(spins, m) + 0.5 * ((m @ spins.couplings) * m).sum(-1)


class NoEntropy(MeanFieldToIsing):
    """Leaves the entropy out."""

    def elbo(self, spins, m):
        return spins.log_mass(m)


@pytest.mark.parametrize("broken", [PairsTwice, NoEntropy])
def test_a_broken_identity_is_seen(broken):
    assert not broken().check().holds


def test_programs():
    program = random_ising(8, 0.7).float()
    evidence = RELATION.check_programs(program, program, torch.ones(2, 8))
    assert evidence.holds, evidence
    with pytest.raises(UnsupportedQueryError, match="at most 20 spins"):
        RELATION.check_programs(Ising.grid(5, 5), Ising.grid(5, 5), torch.ones(2, 25))


def test_figure():
    (axes,) = RELATION.figure().axes
    exact, bound, _ = (line.get_ydata() for line in axes.lines)
    assert (exact >= bound - 1e-4).all()
