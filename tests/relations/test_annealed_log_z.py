"""Relation 23: Jarzynski's equality and the bracket, and both broken on purpose."""

from __future__ import annotations

import math

import pytest
import torch

from unigen.errors import UnsupportedQueryError
from unigen.models.energy import EnergyModel
from unigen.nn.tilt import Tilt
from unigen.relations.annealed_log_z import AnnealedLogZ

RELATION = AnnealedLogZ()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["log_z"] == round(-math.log(2), 6)
    assert evidence.details["up"] < -math.log(2) < evidence.details["down"]


class LostWeight(AnnealedLogZ):
    """The first factor of every weight forgotten, on the way up."""

    def works(self, stiffness, steps, chains):
        up, down = super().works(stiffness, steps, chains)
        return up + 0.2, down


class Exchanged(AnnealedLogZ):
    """Up taken for down."""

    def works(self, stiffness, steps, chains):
        return super().works(stiffness, steps, chains)[::-1]


@pytest.mark.parametrize("broken", [LostWeight, Exchanged])
def test_a_broken_identity_is_seen(broken):
    assert not broken().check(chains=4000).holds


def test_programs():
    model = EnergyModel(2, energy=Tilt(2, hidden=(8,)))
    evidence = RELATION.check_programs(model, model, torch.randn(20, 2))
    assert evidence.holds, evidence
    with pytest.raises(UnsupportedQueryError, match="no context"):
        RELATION.check_programs(EnergyModel(2, context=1), model, torch.randn(20, 2))


def test_figure():
    (axes,) = RELATION.figure(chains=500).axes
    up, down = (line.get_ydata() for line in axes.lines[:2])
    assert down[0] - up[0] > down[-1] - up[-1] > -0.05
