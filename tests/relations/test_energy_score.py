"""Relation 8: a score that is a gradient, and the identity broken on purpose."""

from __future__ import annotations

import pytest
import torch

from unigen.errors import UnsupportedQueryError
from unigen.models.diffusion import Diffusion
from unigen.models.energy import EnergyModel
from unigen.models.ppca import PPCA
from unigen.nn.tilt import Tilt
from unigen.relations.energy_score import EnergyScore

RELATION = EnergyScore()


@pytest.mark.parametrize("seed", [0, 1])
def test_worked_example(seed):
    evidence = RELATION.check(seed=seed)
    assert evidence.holds, evidence


def test_asymmetry_and_circulation_of_a_rotation():
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]]).double()
    x = torch.randn(4, 2).double()
    assert RELATION.asymmetry(lambda at: at @ turn.mT, x) == pytest.approx(2.0)
    assert abs(RELATION.circulation(lambda at: at @ turn.mT, 2)) == pytest.approx(2 * torch.pi)
    assert RELATION.asymmetry(lambda at: at.sin(), x) == 0.0


class Turned(EnergyScore):
    """A little of a rotation added to the score."""

    def score(self, model):
        whole = super().score(model)
        return lambda x: (
            whole(x) + 1e-3 * x.flip(-1) * torch.tensor([1.0] + [-1.0] * (x.shape[-1] - 1)).double()
        )


def test_a_broken_identity_is_seen():
    evidence = Turned().check()
    assert not evidence.holds and sum(not claim.holds for claim in evidence.claims) >= 2


def test_programs():
    model, diffusion = EnergyModel(2, energy=Tilt(2, hidden=(8,))), Diffusion(2, hidden=8)
    for p in diffusion.parameters():
        torch.nn.init.normal_(p, std=0.3)
    evidence = RELATION.check_programs(model, diffusion, torch.randn(30, 2))
    assert evidence.holds, evidence
    assert evidence.claims[1].left > 1e-3
    with pytest.raises(UnsupportedQueryError, match="two features"):
        RELATION.check_programs(PPCA(2, 1), diffusion, torch.randn(3, 2))


def test_figure():
    (axes,) = RELATION.figure().axes
    energy, free = (line.get_ydata()[-1] for line in axes.lines[:2])
    assert abs(energy) < 1e-6 < abs(free)
