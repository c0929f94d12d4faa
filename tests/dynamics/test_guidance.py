from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.conditional_problems import SCHEDULE, labelled_diffusion
from tests.diffusion_problems import ZeroTerminal
from unigen.dynamics.classifier_free import ClassifierFree
from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.guidance import Guidance, check_gradient, check_scale, guided_denoiser, shifted
from unigen.dynamics.prediction import X0
from unigen.errors import ArgumentError, ShapeError


class Push(Guidance):
    """Adds a constant to the score, and in its own context another one."""

    context_features = 1

    def pair(self, denoiser, z_t, t, context, own):
        return shifted(denoiser(z_t, t, context), 0.3 + own.expand_as(z_t), t, denoiser.schedule)


class Halves(nn.Module):
    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        return 0.5 * z


@pytest.mark.parametrize("t", [torch.tensor(0.6), torch.rand(5)], ids=["one time", "a time a row"])
def test_a_shift_of_the_score_keeps_data_and_noise_consistent(t):
    z, delta, t = torch.randn(5, 2).double(), torch.randn(5, 2).double(), t.double()
    denoiser = labelled_diffusion(0).denoiser
    each = t.reshape(-1, 1) if t.dim() else t
    before = denoiser(z, t)
    u, eps = shifted(before, delta, t, SCHEDULE)
    torch.testing.assert_close(SCHEDULE.alpha(each) * u + SCHEDULE.sigma(each) * eps, z)
    torch.testing.assert_close(-eps / SCHEDULE.sigma(each), denoiser.score(t, z) + delta)


def test_without_signal_nothing_is_shifted():
    z = torch.randn(3, 2).double()
    u, eps = shifted((0.5 * z, z), torch.ones_like(z), torch.ones((), dtype=torch.float64), ZeroTerminal())
    assert torch.equal(u, 0.5 * z)
    assert torch.equal(eps, z)


def test_the_context_is_the_programs_and_then_the_guidances():
    program = labelled_diffusion()
    guided = guided_denoiser(program.denoiser, Push(), 3)
    z, t, labels = torch.randn(4, 2).double(), torch.tensor(0.4).double(), torch.eye(3)[[0, 1, 2, 0]].double()
    own = torch.randn(4, 1).double()
    wanted = program.denoiser.score(t, z, labels) + 0.3 + own
    torch.testing.assert_close(guided.score(t, z, torch.cat((labels, own), 1)), wanted)


def test_a_guided_denoiser_has_the_units_of_the_other_for_good():
    program = labelled_diffusion()
    guided = guided_denoiser(program.denoiser, ClassifierFree(1.0), 3)
    guided.float()
    program.double()
    program.denoiser.standardise(torch.randn(50, 2).double() * 3.0 + 1.0)
    assert torch.equal(guided.loc, program.denoiser.loc)
    assert torch.equal(guided.scale, program.denoiser.scale)
    twin, network = copy.deepcopy(guided), guided.network
    inner = twin.network.denoiser
    inner.standardise(torch.randn(50, 2).double())
    assert torch.equal(twin.loc, inner.loc)
    assert not torch.equal(twin.loc, guided.loc)
    assert network.denoiser is program.denoiser


def test_a_schedule_without_signal_at_the_end_may_be_guided():
    plain = Denoiser(Halves(), ZeroTerminal(), X0(), (2,)).double()

    class Nothing(Guidance):
        def pair(self, denoiser, z_t, t, context, own):
            return shifted(denoiser(z_t, t), torch.zeros_like(z_t), t, denoiser.schedule)

    guided = guided_denoiser(plain, Nothing())
    z, t = torch.randn(3, 2).double(), torch.ones((), dtype=torch.float64)
    for ours, theirs in zip(guided(z, t), plain(z, t), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_log_density_is_tried():
    like = torch.zeros(2)
    check_gradient(lambda z: z.sum(-1), like, "Some", "log_prob")
    with pytest.raises(ShapeError, match=r"\(2,\)"):
        check_gradient(lambda z: z, like, "Some", "log_prob")
    for cut in (lambda z: z.detach().sum(-1), lambda z: torch.zeros(2, requires_grad=True)):
        with pytest.raises(ArgumentError, match=r"Some.*gradient"):
            check_gradient(cut, like, "Some", "log_prob")


@pytest.mark.parametrize("scale", [-0.1, float("nan"), float("inf"), True])
def test_scales_are_finite_numbers(scale):
    with pytest.raises(ArgumentError, match="scale"):
        check_scale("Some", scale)
