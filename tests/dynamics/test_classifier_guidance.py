"""Guidance by the exact classifier of noisy data gives the exact conditional."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import unigen as ug
from tests.conditional_problems import CENTRES, STDS, LabelledMixture, labelled_diffusion
from unigen.dynamics.classifier_guidance import ClassifierGuidance
from unigen.dynamics.interpolant import Linear
from unigen.dynamics.prediction import Eps
from unigen.errors import ArgumentError, ContextError, ShapeError

SAMPLERS = [
    ug.DDIM(6, eta=0.5), ug.DDPMAncestral(6), ug.EDM(6, churn=2.0), ug.DPMSolver(6), ug.PredictorCorrector(ug.DDIM(6)),
    ug.ReverseSDE(6), ug.ProbabilityFlowODE(),
]  # fmt: skip
LABELS = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 2, 1]]


def exact(scale: float = 1.0) -> ClassifierGuidance:
    return ClassifierGuidance(LabelledMixture().log_prob, scale, context=3)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
def test_every_sampler_draws_the_conditional(sampler):
    guided = ug.Guided(labelled_diffusion(0), exact())
    ours = guided.sample(5, LABELS, sampler=sampler, seed=0)
    theirs = labelled_diffusion().sample(5, LABELS, sampler=sampler, seed=0)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_draws_are_of_the_class():
    n = 4000
    label = torch.tensor([[0.0, 0.0, 1.0]]).double()
    x = ug.Guided(labelled_diffusion(0), exact()).sample(n, label, sampler=ug.DPMSolver(40))
    assert float(((x.mean(0) - CENTRES[2]) / (STDS[2] / n**0.5)).abs().max()) < 5.0
    assert float(((x.var(0) / STDS[2].square() - 1.0) / (2.0 / n) ** 0.5).abs().max()) < 5.0


def test_a_flow_is_guided_as_well():
    network = LabelledMixture(Linear().as_schedule())
    flow, given = (
        ug.FlowMatching(2, network=network, interpolant=Linear(), prediction=Eps(), context=c).double()
        for c in (0, 3)
    )
    guided = ug.Guided(flow, ClassifierGuidance(network.log_prob, context=3)).denoiser
    z = torch.randn(5, 2).double()
    for t in torch.tensor([0.1, 0.5, 0.9]).double():
        torch.testing.assert_close(
            guided.score(t, z, LABELS), given.flow.score(t, z, LABELS), rtol=1e-8, atol=1e-8
        )
        ours, theirs = guided.field(LABELS)(t, z), given.flow.field(LABELS)(t, z)
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_the_scale_multiplies_the_gradient():
    free, given = labelled_diffusion(0).denoiser, labelled_diffusion().denoiser
    z, t = torch.randn(5, 2).double(), torch.tensor(0.5).double()
    base = free.score(t, z)
    for scale in (0.0, 0.5, 3.0):
        ours = ug.Guided(labelled_diffusion(0), exact(scale)).denoiser.score(t, z, LABELS)
        torch.testing.assert_close(
            ours, base + scale * (given.score(t, z, LABELS) - base), rtol=1e-8, atol=1e-8
        )


def test_a_function_may_have_its_label_in_itself():
    network, label = LabelledMixture(), torch.tensor([[1.0, 0.0, 0.0]]).double()
    guidance = ClassifierGuidance(lambda z, t: network.log_prob(z, t, label))
    ours = ug.Guided(labelled_diffusion(0), guidance).sample(4, sampler=ug.DDIM(8), seed=0)
    theirs = labelled_diffusion().sample(4, label, sampler=ug.DDIM(8), seed=0)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_conditional_program_is_guided_further():
    """Its context, then the classifier's: two labels of which the second only shifts."""
    guided = ug.Guided(labelled_diffusion(), exact(0.5))
    assert guided.context_features == 6
    both = torch.cat((LABELS, LABELS), 1)
    assert guided.sample(5, both, sampler=ug.DDIM(4)).shape == (5, 2)


def test_a_noisy_classifier_brings_its_context():
    classifier = ug.NoisyClassifier(2, classes=3, hidden=8)
    guided = ug.Guided(ug.Diffusion(2, hidden=8, blocks=1), ClassifierGuidance(classifier))
    assert guided.context_features == 3
    assert guided.sample(2, torch.eye(3)[:2], sampler=ug.DDIM(3)).shape == (2, 2)
    assert len(list(guided.denoiser.network.guidance.parameters())) > 0


def test_misuse_is_refused():
    program = ug.Diffusion(2, hidden=8, blocks=1)
    with pytest.raises(ArgumentError, match="function"):
        ClassifierGuidance(3.0)  # pyright: ignore[reportArgumentType]

    class Hard(nn.Module):
        def forward(self, z, t):
            with torch.no_grad():
                return z.sum(-1)

    with pytest.raises(ArgumentError, match=r"gradient.*fit_noisy_classifier"):
        ug.Guided(program, ClassifierGuidance(Hard()))
    with pytest.raises(ShapeError, match="log p of two rows"):
        ug.Guided(program, ClassifierGuidance(lambda z, t: z))
    guided = ug.Guided(labelled_diffusion(0), exact())
    with pytest.raises(ContextError, match="one_hot"):
        guided.sample(3, torch.tensor([0, 1, 2]))
    with pytest.raises(ContextError, match=r"\(4, 3\)"):
        guided.sample(4, LABELS)
