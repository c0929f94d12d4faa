"""Relation 12: exact recursions, a reversal with the wrong share of the score, and programs."""

from __future__ import annotations

import pytest
import torch

from tests.diffusion_problems import gaussian_diffusion
from unigen.dynamics.schedule import VPCosine, VPLinear
from unigen.dynamics.sde import ForwardSDE, ReverseSDE
from unigen.errors import UnsupportedQueryError
from unigen.models.diffusion import Diffusion
from unigen.models.ppca import PPCA
from unigen.relations.reverse_diffusion import ReverseDiffusion

RELATION = ReverseDiffusion()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert len(evidence.claims) == 9


def test_other_parameters():
    assert RELATION.check(std=0.5, schedule=VPLinear(0.1, 10.0), seed=2).holds


class HalfScore(ReverseDiffusion):
    """Uses the flow's half of the score in the SDE: noise without the drift that undoes it."""

    def reverse(self, schedule, std, noise):
        right = super().reverse(schedule, std, noise)
        return ReverseSDE(ForwardSDE(schedule), lambda t, x: right.score(t, x) / (1 + noise**2), noise)


class Warm(ReverseDiffusion):
    """A corrector whose noise is too large."""

    def corrected(self, variance, h):
        return 1.1 * super().corrected(variance, h)


@pytest.mark.parametrize("broken", [HalfScore, Warm])
def test_a_broken_identity_is_seen(broken):
    assert not broken().check(draws=1000).holds


def test_programs():
    program = gaussian_diffusion(VPCosine(), 0.5, 0.6, 2)
    evidence = RELATION.check_programs(program, program, torch.zeros(1, 2))
    assert evidence.holds, evidence


class HalfNoise(torch.nn.Module):
    """No score of anything: half the state is predicted as the noise."""

    def forward(self, z, t):
        return 0.4 * z


def test_a_network_that_is_no_score_is_found_out():
    from unigen.dynamics.prediction import Eps

    program = Diffusion(2, network=HalfNoise(), prediction=Eps())
    assert not RELATION.check_programs(program, program, torch.zeros(1, 2)).holds


def test_refuses():
    for program in (PPCA(3, 1), Diffusion(2, hidden=8, blocks=1, context=1)):
        with pytest.raises(UnsupportedQueryError, match="unconditional Diffusion"):
            RELATION.check_programs(program, program, torch.zeros(1, 2))
