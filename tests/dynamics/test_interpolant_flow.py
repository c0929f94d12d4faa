"""Oracles: one velocity through every prediction, the program that holds a learned schedule."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.interpolant_problems import MixtureVelocity
from unigen.dynamics.coupling import Independent, MinibatchOT
from unigen.dynamics.interpolant import VP, Linear
from unigen.dynamics.interpolant_flow import InterpolantFlow, interpolant_flow_of
from unigen.dynamics.learned_snr import LearnedSNR
from unigen.dynamics.prediction import X0, Eps, Score, V, Velocity, convert
from unigen.dynamics.schedule import VPLinear
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.inference.persist import load, save
from unigen.models.diffusion import Diffusion
from unigen.models.flow_matching import FlowMatching
from unigen.relations.diffusion_flow_matching import to_flow_matching

F64 = torch.float64


class Converted(nn.Module):
    """The optimal velocity, given as another quantity."""

    def __init__(self, velocity: MixtureVelocity, prediction) -> None:
        super().__init__()
        self.velocity, self.prediction = velocity, prediction

    def forward(self, z, t):
        schedule = self.velocity.interpolant.as_schedule()
        return convert(self.velocity(z, t), Velocity(), self.prediction, z, t, schedule)


@pytest.mark.parametrize("prediction", [X0(), Eps(), V(), Score()], ids=repr)
@pytest.mark.parametrize("path", [Linear(), VP(VPLinear())], ids=repr)
def test_every_prediction_gives_the_same_velocity_noise_and_score(path, prediction):
    exact = MixtureVelocity(path, torch.tensor([[-1.0, 0.0], [1.0, 0.5]]), 0.5)
    other = Converted(exact, prediction)
    a = InterpolantFlow(exact, path, Independent(), Velocity(), (2,), 0.01).double()
    b = InterpolantFlow(other, path, Independent(), prediction, (2,), 0.01).double()
    z, t = torch.randn(5, 2, dtype=F64), torch.tensor(0.4, dtype=F64)
    torch.testing.assert_close(b.field()(t, z), a.field()(t, z), rtol=1e-8, atol=1e-8)
    for got, expected in zip(b.velocity_and_noise(t, z), a.velocity_and_noise(t, z), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(b.score(t, z), a.score(t, z), rtol=1e-8, atol=1e-8)


def test_the_start_is_where_the_velocity_is_finite():
    net = nn.Identity()
    assert InterpolantFlow(net, Linear(), Independent(), Velocity(), (2,)).start == 0.0
    assert InterpolantFlow(net, Linear(), Independent(), X0(), (2,)).start == 1e-3
    assert InterpolantFlow(net, VP(VPLinear()), Independent(), Velocity(), (2,)).start == 1e-3
    with pytest.raises(ArgumentError, match="start"):
        InterpolantFlow(net, VP(VPLinear()), Independent(), Velocity(), (2,), 0.0)


def test_a_learned_schedule_is_a_part_of_the_flow(tmp_path):
    diffusion = Diffusion(2, hidden=8, blocks=1, schedule=LearnedSNR(hidden=4))
    with torch.no_grad():
        for parameter in diffusion.denoiser.schedule.parameters():
            parameter.add_(0.3)
    flow = to_flow_matching(diffusion)
    x = torch.randn(3, 2)
    torch.testing.assert_close(flow.log_prob(x).value, diffusion.log_prob(x).value, rtol=0, atol=1e-2)
    other = FlowMatching(2, hidden=8, blocks=1, interpolant=VP(LearnedSNR(hidden=4)))
    other.flow.schedule.load_state_dict(diffusion.denoiser.schedule.state_dict())
    again = load(save(other, tmp_path / "flow.safetensors"))
    assert torch.equal(again.flow.interpolant.alpha(0.3), diffusion.denoiser.schedule.alpha(0.3))
    names = other.objective.players(other)[0].parameters
    assert all(".network." in name for name in names)


def test_what_has_no_score_or_no_flow_is_refused():
    flow = InterpolantFlow(nn.Identity(), Linear(), MinibatchOT(), Velocity(), (2,))
    with pytest.raises(UnsupportedQueryError, match="independent"):
        flow.score(torch.tensor(0.5), torch.zeros(1, 2))
    with pytest.raises(ArgumentError, match="interpolant"):
        interpolant_flow_of(nn.Linear(2, 2))
