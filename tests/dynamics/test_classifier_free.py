"""Classifier-free guidance of a mixture whose conditional and unconditional scores are exact."""

from __future__ import annotations

import math

import pytest
import torch

import unigen as ug
from tests.conditional_problems import CENTRES, STDS, WEIGHTS, LabelledMixture, labelled_diffusion
from unigen.dynamics.classifier_free import ClassifierFree
from unigen.dynamics.interpolant import Linear
from unigen.dynamics.prediction import Eps
from unigen.errors import ArgumentError
from unigen.models.flow_matching import FlowMatching

SAMPLERS = [
    ug.DDIM(6, eta=0.5), ug.DDPMAncestral(6), ug.EDM(6, churn=2.0), ug.DPMSolver(6), ug.PredictorCorrector(ug.DDIM(6)),
    ug.ReverseSDE(6), ug.ProbabilityFlowODE(),
]  # fmt: skip
LABELS = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 2, 1]]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
def test_every_sampler_takes_it(sampler):
    """At w = 1 the same draws as those of the conditional program, at w = 0 as those of the unconditional one."""
    program = labelled_diffusion()
    given = ug.Guided(program, ClassifierFree(1.0)).sample(5, LABELS, sampler=sampler, seed=0)
    torch.testing.assert_close(
        given, program.sample(5, LABELS, sampler=sampler, seed=0), rtol=1e-6, atol=1e-6
    )
    free = ug.Guided(program, ClassifierFree(0.0)).sample(5, LABELS, sampler=sampler, seed=0)
    torch.testing.assert_close(
        free, labelled_diffusion(0).sample(5, sampler=sampler, seed=0), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("w", [0.5, 1.0, 3.0])
def test_the_score_is_that_of_both_conventions(w):
    program, plain = labelled_diffusion(), labelled_diffusion(0)
    guided, z = ug.Guided(program, ClassifierFree(w)).denoiser, torch.randn(5, 2).double()
    for t in torch.tensor([0.0, 0.5, 1.0]).double():
        ours, free = guided.score(t, z, LABELS), plain.denoiser.score(t, z)
        given = program.denoiser.score(t, z, LABELS)
        torch.testing.assert_close(ours, free + w * (given - free), rtol=1e-8, atol=1e-8)
        omega = w - 1.0  # Ho & Salimans
        torch.testing.assert_close(ours, (1.0 + omega) * given - omega * free, rtol=1e-8, atol=1e-8)


def _z(draws: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, fourth: torch.Tensor) -> torch.Tensor:
    """Standardised errors of means and variances."""
    n, centred = draws.shape[0], (draws - mean).square()
    return torch.cat(
        ((draws.mean(0) - mean) / (variance / n).sqrt(), (centred.mean(0) - variance) / (fourth / n).sqrt())
    )


@pytest.mark.parametrize("kind", ["diffusion", "flow matching"])
def test_draws_are_of_the_conditional_and_of_the_unconditional_distribution(kind):
    network, n, sampler = LabelledMixture(), 4000, ug.DPMSolver(40)
    program = labelled_diffusion()
    if kind == "flow matching":
        network = LabelledMixture(Linear().as_schedule())
        program = FlowMatching(2, network=network, interpolant=Linear(), prediction=Eps(), context=3).double()
    label = torch.tensor([[0.0, 1.0, 0.0]]).double()
    x = ug.Guided(program, ClassifierFree(1.0)).sample(n, label, sampler=sampler)
    variance = STDS[1].square() * torch.ones(2).double()
    assert float(_z(x, CENTRES[1], variance, 2.0 * variance.square()).abs().max()) < 5.0
    x = ug.Guided(program, ClassifierFree(0.0)).sample(n, label, sampler=sampler)
    mean = WEIGHTS @ CENTRES
    away, var = CENTRES - mean, STDS.square()[:, None]
    variance = WEIGHTS @ (away.square() + var)
    fourth = WEIGHTS @ (away**4 + 6 * away.square() * var + 3 * var.square()) - variance.square()
    assert float(_z(x, mean, variance, fourth).abs().max()) < 5.0


def test_more_guidance_is_more_of_the_class():
    """The mean of p(c | x) over the draws rises with w."""
    program, network, n = labelled_diffusion(), LabelledMixture(), 1000
    label, shares = torch.tensor([[0.0, 0.0, 1.0]]).double(), []
    for w in (0.0, 1.0, 4.0):
        x = ug.Guided(program, ClassifierFree(w)).sample(n, label, sampler=ug.DPMSolver(20), seed=0)
        shares.append(float(network.log_prob(x, torch.zeros(n).double(), label.expand(n, 3)).exp().mean()))
    assert shares[0] < 0.2 + 5 * math.sqrt(0.16 / n)
    assert shares[0] < shares[1] < shares[2]


def test_another_value_may_stand_for_no_context():
    program = ug.Diffusion(2, hidden=8, blocks=1, context=2)
    with torch.no_grad():
        program.denoiser.network.output.weight.normal_()
    free = ug.Guided(program, ClassifierFree(0.0, null=-1.0)).sample(
        3, torch.ones(1, 2), sampler=ug.DDIM(4), seed=0
    )
    wanted = program.sample(3, torch.full((1, 2), -1.0), sampler=ug.DDIM(4), seed=0)
    torch.testing.assert_close(free, wanted, rtol=1e-4, atol=1e-4)


def test_an_unconditional_program_is_refused():
    with pytest.raises(ArgumentError, match=r"without a conditional model.*DropContext"):
        ug.Guided(labelled_diffusion(0), ClassifierFree(2.0))
