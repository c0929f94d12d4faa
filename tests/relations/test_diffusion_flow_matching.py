"""Oracles: the worked example, equal draws and densities of converted programs, the identity broken on purpose."""

from __future__ import annotations

import copy

import pytest
import torch

import unigen as ug
from tests.diffusion_problems import mixture_diffusion
from tests.interpolant_problems import mixture_flow
from unigen.densities.probability_flow import ProbabilityFlow
from unigen.dynamics.coupling import MinibatchOT
from unigen.dynamics.interpolant import VP, Linear, Trigonometric
from unigen.dynamics.prediction import Eps
from unigen.dynamics.schedule import LogLinearSNR, VPCosine, VPLinear
from unigen.errors import UnsupportedQueryError
from unigen.models.diffusion import Diffusion
from unigen.models.flow_matching import FlowMatching
from unigen.relations.diffusion_flow_matching import DiffusionFlowMatching, to_diffusion, to_flow_matching
from unigen.samplers.interpolant_sde import InterpolantSDE
from unigen.samplers.probability_flow import ProbabilityFlowODE
from unigen.samplers.reverse_sde import ReverseSDE

F64 = torch.float64
CENTRES = torch.tensor([[-1.0, 0.5], [1.5, 0.0]])
FINE, FINE_ODE = ProbabilityFlow(rtol=1e-9, atol=1e-9), ProbabilityFlowODE(1e-9, 1e-9)


def assert_equal_laws(a, b):
    x, z = torch.randn(2, 8, 2, dtype=F64)
    got, expected = b.log_prob(x, density=FINE), a.log_prob(x, density=FINE)
    torch.testing.assert_close(got.value, expected.value, rtol=0, atol=1e-6)
    torch.testing.assert_close(FINE_ODE.push(b, z), FINE_ODE.push(a, z), rtol=0, atol=1e-6)


def test_the_worked_example():
    found = DiffusionFlowMatching().check()
    assert found.holds
    assert found.details["velocity_from_noise_to_data"] == pytest.approx(2.0, abs=1e-12)
    assert found.claims[1].left == pytest.approx(0.785398, abs=1e-6)
    assert DiffusionFlowMatching().check(mean=-1.0, std=1.7, point=0.3, time=0.2).holds


def test_a_wrong_factor_of_the_score_is_seen():
    class Wrong(DiffusionFlowMatching):
        def score_factor(self) -> float:
            return -1.0

    assert not Wrong().check(point=1.5).holds


@pytest.mark.parametrize("schedule", [LogLinearSNR(), VPCosine(), VPLinear()], ids=repr)
def test_a_diffusion_becomes_a_flow_and_comes_back(schedule):
    program = mixture_diffusion(schedule, CENTRES, 0.5)
    with torch.no_grad():
        program.denoiser.loc.fill_(0.3)
        program.denoiser.scale.fill_(1.7)
    flow = to_flow_matching(program)
    assert flow.flow.network is program.denoiser.network
    assert_equal_laws(program, flow)
    assert_equal_laws(flow, to_diffusion(flow))


@pytest.mark.parametrize("path", [Linear(), Trigonometric()], ids=repr)
def test_a_flow_becomes_a_diffusion_and_comes_back(path):
    """Up to its first 10⁻³, where the diffusion would divide by a noise of 0."""
    program = mixture_flow(CENTRES, 0.5, path, start=1e-3)
    diffusion = to_diffusion(program)
    assert_equal_laws(program, diffusion)
    assert_equal_laws(diffusion, to_flow_matching(diffusion))
    whole, x = mixture_flow(CENTRES, 0.5, path), torch.randn(8, 2, dtype=F64)
    gap = to_diffusion(whole).log_prob(x, density=FINE).value - whole.log_prob(x, density=FINE).value
    assert float(gap.abs().max()) < 0.02


def test_either_reading_is_drawn_by_the_sde_of_the_other():
    program = mixture_flow(CENTRES, 0.5)
    a = program.sample(4000, sampler=InterpolantSDE(200))
    b = to_diffusion(program).sample(4000, sampler=ReverseSDE(200))
    error = ((a.square().var(0) + b.square().var(0)) / 4000).sqrt()
    assert bool(((a.square().mean(0) - b.square().mean(0)).abs() < 5 * error + 0.04).all())


def test_any_prediction_context_and_dtype_pass_through_convert():
    program = Diffusion(2, hidden=8, blocks=1, context=1, prediction=Eps(), schedule=VPCosine())
    flow = ug.convert(program, to="FlowMatching")
    assert isinstance(flow, FlowMatching)
    x, c = torch.randn(4, 2), torch.randn(4, 1)
    loose = ProbabilityFlow(rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        flow.log_prob(x, c, density=loose).value,
        program.log_prob(x, c, density=loose).value,
        atol=1e-2,
        rtol=0,
    )
    assert isinstance(ug.convert(flow, to="Diffusion"), Diffusion)


def test_programs_are_measured():
    a, b = mixture_diffusion(LogLinearSNR(), CENTRES, 0.5), mixture_flow(CENTRES, 0.5)
    x = torch.randn(16, 2, dtype=F64)
    assert DiffusionFlowMatching().check_programs(a, b, x).holds
    related = ug.relate(a, b, x)
    assert any(relation.id == 15 for relation, _ in related.findings)


def test_what_the_theorem_does_not_license_is_refused():
    with pytest.raises(UnsupportedQueryError, match="independent"):
        ug.convert(FlowMatching(2, hidden=8, blocks=1, coupling=MinibatchOT()), to="Diffusion")
    with pytest.raises(UnsupportedQueryError, match="licenses no conversion"):
        DiffusionFlowMatching().convert(FlowMatching(2, hidden=8, blocks=1), to="VAE")
    conditional = FlowMatching(2, hidden=8, blocks=1, context=1, interpolant=VP())
    with pytest.raises(UnsupportedQueryError, match="unconditional"):
        DiffusionFlowMatching().check_programs(
            Diffusion(2, hidden=8, blocks=1), conditional, torch.zeros(2, 2)
        )
    odd = copy.deepcopy(mixture_diffusion(LogLinearSNR(), CENTRES, 0.5))
    odd.denoiser.schedule = "none"
    with pytest.raises(UnsupportedQueryError, match="ends in"):
        to_flow_matching(odd)
