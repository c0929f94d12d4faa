"""Relation 32: the spiral, blocks that are no Euler steps, noise of the wrong size, and the flows of programs."""

from __future__ import annotations

import pytest
import torch

from tests.diffusion_problems import gaussian_diffusion
from unigen.dynamics.schedule import VPCosine
from unigen.errors import UnsupportedQueryError
from unigen.models.cnf import CNF
from unigen.relations.relate import relate
from unigen.relations.resnet_ode import ResNetODE

RELATION = ResNetODE()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    errors = list(evidence.details["error_of_the_blocks"].values())
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.05)


def test_other_parameters():
    assert RELATION.check(decay=0.5, turn=1.0, time=1.5, noise=1.0, blocks=400, seed=3).holds


class WithoutSkip(ResNetODE):
    """Loses the skip connection, in part."""

    def block(self, x, a, h):
        return super().block(x, a, h) - 0.1 * h * x


class NoiseByStep(ResNetODE):
    """Scales the noise with dt instead of its root, and so loses it in the limit."""

    def noise_scale(self, noise, h):
        return noise * h


@pytest.mark.parametrize("broken", [WithoutSkip, NoiseByStep])
def test_a_broken_identity_is_seen(broken):
    assert not broken().check().holds


def test_programs():
    cnf, diffusion = CNF(2, hidden=(16,)), gaussian_diffusion(VPCosine(), 0.5, 0.6, 2)
    evidence = RELATION.check_programs(cnf, diffusion, torch.randn(4, 2))
    assert evidence.holds, evidence
    assert any(each.id == 32 for each in relate(diffusion, cnf, torch.randn(4, 2).double()).evidence)


def test_refuses():
    with pytest.raises(UnsupportedQueryError, match="unconditional flow"):
        RELATION.check_programs(CNF(2, context=1), CNF(2), torch.zeros(1, 2))
