"""Relation 29: the worked example, other schedules, and the identity broken on purpose."""

from __future__ import annotations

import pytest
import torch

from unigen.dynamics.schedule import LogLinearSNR, VPCosine
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.models.diffusion import Diffusion
from unigen.relations.symmetry_breaking import SymmetryBreaking

RELATION = SymmetryBreaking()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["critical_time"] == pytest.approx(0.394080, abs=1e-6)


@pytest.mark.parametrize("schedule", [VPCosine(1e4, 1e-4), LogLinearSNR(1e4, 1e-4)], ids=repr)
def test_other_parameters(schedule):
    assert RELATION.check(centre=1.0, std=0.2, schedule=schedule).holds


class WithoutSpread(SymmetryBreaking):
    """Forgets the width of the modes."""

    def critical_alpha_squared(self, centre, std):
        return 1.0 / (1.0 + centre**2)


class OfTheMarginalVariance(SymmetryBreaking):
    """Takes the time at which signal and noise are equally strong."""

    def critical_alpha_squared(self, centre, std):
        return 1.0 / (1.0 + centre**2 + std**2)


@pytest.mark.parametrize("broken", [WithoutSpread(), OfTheMarginalVariance()])
def test_a_broken_identity_fails(broken):
    assert not broken.check().holds


def test_one_mode_has_no_symmetry_to_break():
    with pytest.raises(ArgumentError, match="0 < std < centre"):
        RELATION.check(centre=0.3, std=0.35)


def test_programs_are_not_measured():
    program = Diffusion(1, hidden=8, blocks=1)
    with pytest.raises(UnsupportedQueryError, match="worked example"):
        RELATION.check_programs(program, program, torch.randn(4, 1))


def test_figure_is_a_pitchfork():
    places = RELATION.figure().axes[0].collections[1].get_offsets()
    late, early = (sum(abs(t - at) < 0.003 for t, _ in places) for at in (0.8, 0.1))
    assert early >= 3 * late > 0
