"""Relation 14: the worked example, programs, and the identity broken on purpose."""

from __future__ import annotations

import pytest
import torch

from unigen.dynamics.prediction import Eps
from unigen.dynamics.schedule import LogLinearSNR
from unigen.errors import UnsupportedQueryError
from unigen.models.diffusion import Diffusion
from unigen.models.ppca import PPCA
from unigen.relations.denoiser_information import DenoiserInformation
from unigen.relations.noisy_mixture import NoisyMixture

RELATION = DenoiserInformation()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.claims[0].left == pytest.approx(2.996981, abs=1e-5)


def test_other_parameters():
    assert RELATION.check(std=0.3, snr=7.0, centre=1.0, width=0.6).holds


class NotTheBest(DenoiserInformation):
    """Integrates the error of a network that says a tenth too little."""

    def integral(self, law, points=1500):
        denoiser = law.denoiser()
        t = (torch.arange(points, dtype=torch.float64) + 0.5) / points
        with torch.no_grad():
            error = 1.0 - 0.99 * law.quadrature(t)[0]
        return float((denoiser.likelihood_weight(t) * error).mean())


class WithoutHalf(DenoiserInformation):
    def integral(self, law, points=1500):
        return 2 * super().integral(law, points)


@pytest.mark.parametrize("broken", [NotTheBest(), WithoutHalf()])
def test_a_broken_identity_fails(broken):
    assert not broken.check().holds


def test_on_a_program_and_on_the_one_that_remembers():
    x = torch.randn(50, 2, dtype=torch.float64)
    schedule = LogLinearSNR(1e4, 1e-3)
    untrained = Diffusion(2, schedule=schedule, hidden=8, blocks=1).double()
    assert RELATION.check_programs(untrained, untrained, x).holds
    best = Diffusion(2, network=NoisyMixture(schedule, x, 0.0), schedule=schedule, prediction=Eps()).double()
    evidence = RELATION.check_programs(best, best, x)
    assert evidence.holds, evidence
    claim = evidence.claims[0]
    assert abs(claim.gap) <= claim.tolerance, "with the best denoiser it is an equality"


def test_other_programs_are_refused():
    ppca = PPCA(3, 1)
    with pytest.raises(UnsupportedQueryError, match="unconditional Diffusion"):
        RELATION.check_programs(ppca, ppca, torch.randn(4, 3))
