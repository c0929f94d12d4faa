"""Relation 25: what Langevin chains sample, and the decision left out on purpose."""

from __future__ import annotations

import pytest
import torch

from unigen.errors import UnsupportedQueryError
from unigen.models.energy import EnergyModel
from unigen.nn.tilt import Tilt
from unigen.relations.langevin_energy import LangevinEnergy

RELATION = LangevinEnergy()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["unadjusted"] == 1.052632
    assert evidence.details["double_well_z"] == pytest.approx(2.123003, abs=1e-6)
    assert evidence.details["double_well_second_moment"] == pytest.approx(0.840546, abs=1e-6)


def test_another_step():
    assert RELATION.check(step_size=1.0, depth=0.5, chains=10_000, seed=1).holds
    with pytest.raises(UnsupportedQueryError, match="h < 2"):
        RELATION.check(step_size=2.0)


class Undecided(LangevinEnergy):
    """Every proposal accepted."""

    def adjusted(self, x, steps, h):
        return self.unadjusted(x, steps, h)


def test_a_broken_identity_is_seen():
    assert not Undecided().check(step_size=0.3).holds


def test_programs():
    model = EnergyModel(2, energy=Tilt(2, hidden=(8,))).double()
    evidence = RELATION.check_programs(model, model, torch.randn(100, 2))
    assert evidence.holds, evidence
    with pytest.raises(UnsupportedQueryError, match="no context"):
        RELATION.check_programs(EnergyModel(2, context=1), model, torch.randn(20, 2))


def test_figure():
    (axes,) = RELATION.figure(chains=1000).axes
    unadjusted = axes.lines[1].get_ydata()
    assert unadjusted[-1] > unadjusted[0]
