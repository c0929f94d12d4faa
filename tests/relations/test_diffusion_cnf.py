"""Relation 11: the worked example, a program, and the identity broken on purpose."""

from __future__ import annotations

import pytest
import torch

from tests.diffusion_problems import mixture_diffusion
from unigen.dynamics.schedule import LogLinearSNR, VPCosine
from unigen.dynamics.sde import ReverseSDE
from unigen.errors import UnsupportedQueryError
from unigen.models.diffusion import Diffusion
from unigen.models.ppca import PPCA
from unigen.relations.diffusion_cnf import DiffusionCNF, TwoGaussians

RELATION = DiffusionCNF()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    left = {claim.name: claim.left for claim in evidence.claims}
    assert left["log p(0) by the flow = closed form"] == pytest.approx(-16.195647, abs=1e-6)
    assert left["log p(2.3) by the flow = closed form"] == pytest.approx(-0.929611, abs=1e-6)
    mismatch = evidence.details["mismatch_of_a_standard_normal_at_t_1"]
    assert all(0 < abs(gap) < 1e-3 for gap in mismatch)


@pytest.mark.parametrize("schedule", [LogLinearSNR(1e4, 1e-4), VPCosine()], ids=repr)
def test_other_parameters(schedule):
    assert RELATION.check(centre=1.0, std=0.6, points=(-0.5, 0.4, 3.0), schedule=schedule, draws=5000).holds


def test_closed_forms_of_the_mixture():
    law, t = TwoGaussians(LogLinearSNR(), 2.0, 0.35), torch.tensor(0.3).double()
    z = torch.linspace(-4, 4, 4001, dtype=torch.float64).requires_grad_(True)
    log_prob = law.log_prob(t, z)
    score = torch.autograd.grad(log_prob.sum(), z)[0]
    torch.testing.assert_close(law.score(t, z), score)
    mass = torch.cumulative_trapezoid(log_prob.exp(), z)
    torch.testing.assert_close(law.cdf(t, z)[1:] - law.cdf(t, z)[0], mass, rtol=0, atol=1e-5)


class WholeScore(DiffusionCNF):
    """Drops the half: the drift of the reverse SDE, solved as an ODE."""

    def flow(self, forward, law):
        return ReverseSDE(forward, law.score)


class WrongScore(DiffusionCNF):
    """Uses the score of a mixture that is a little too narrow."""

    def flow(self, forward, law):
        return super().flow(forward, TwoGaussians(law.schedule, law.centre, 0.98 * law.std))


@pytest.mark.parametrize("broken", [WholeScore(), WrongScore()])
def test_a_broken_identity_fails(broken):
    assert not broken.check(draws=1000).holds


def test_on_a_program():
    program = mixture_diffusion(LogLinearSNR(1e4, 1e-4), torch.tensor([[-2.0], [2.0]]), 0.35)
    x = torch.tensor([[-2.0], [2.3]], dtype=torch.float64)
    evidence = RELATION.check_programs(program, program, x)
    assert evidence.holds, evidence
    assert "exact" in evidence.details["log_likelihood_by_the_flow"]


class TooEnergetic(torch.nn.Module):
    """Not a score of anything: half the noise is predicted, so that flow and SDE part."""

    def forward(self, z, t):
        return 0.5 * z


def test_a_network_that_is_no_score_is_found_out():
    from unigen.dynamics.prediction import Eps

    program = Diffusion(1, network=TooEnergetic(), prediction=Eps())
    evidence = RELATION.check_programs(program, program, torch.randn(4, 1))
    assert not evidence.holds


def test_other_programs_are_refused():
    ppca = PPCA(3, 1)
    with pytest.raises(UnsupportedQueryError, match="unconditional Diffusion"):
        RELATION.check_programs(ppca, ppca, torch.randn(4, 3))
