from __future__ import annotations

import pytest
import torch

import unigen as ug
from tests.conditional_problems import LabelledMixture
from unigen.dynamics.flow_denoiser import START, denoiser_behind
from unigen.dynamics.interpolant import Linear, Trigonometric
from unigen.dynamics.prediction import Eps
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.models.flow_matching import FlowMatching
from unigen.models.ppca import PPCA


@pytest.mark.parametrize("path", [Linear(), Trigonometric()], ids=repr)
def test_the_denoiser_of_a_flow_has_its_score_and_its_velocity(path):
    network = LabelledMixture(path.as_schedule())
    program = FlowMatching(2, network=network, interpolant=path, prediction=Eps()).double()
    program.flow.standardise(torch.randn(40, 2).double() + 1.0)
    denoiser = denoiser_behind(program)
    assert denoiser.start in (START, program.flow.start)
    assert torch.equal(denoiser.loc, program.flow.loc)
    z = torch.randn(6, 2).double()
    for t in torch.tensor([0.05, 0.5, 0.9]).double():
        torch.testing.assert_close(denoiser.score(t, z), program.flow.score(t, z), rtol=1e-9, atol=1e-9)
        ours, theirs = denoiser.field()(t, z), program.flow.field()(t, z)
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_learned_velocity_is_read_as_it_is():
    program = FlowMatching(2, hidden=8, blocks=1)
    with torch.no_grad():
        program.flow.network.output.weight.normal_()
    z, t = torch.randn(4, 2), torch.tensor(0.3)
    torch.testing.assert_close(
        denoiser_behind(program).score(t, z), program.flow.score(t, z), rtol=1e-4, atol=1e-4
    )


def test_programs_without_a_gaussian_path_are_refused():
    with pytest.raises(ArgumentError, match="AnnealedSMC"):
        denoiser_behind(PPCA(3, 1))
    with pytest.raises(UnsupportedQueryError, match="normal"):
        denoiser_behind(FlowMatching(2, hidden=8, blocks=1, coupling=ug.MinibatchOT()))
