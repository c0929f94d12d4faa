from __future__ import annotations

import copy

import pytest
import torch

import unigen as ug
from tests.conditional_problems import CENTRES, STDS, labelled_diffusion
from unigen.dynamics.classifier_free import ClassifierFree
from unigen.dynamics.classifier_guidance import ClassifierGuidance
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.models.guided import Guided
from unigen.objectives.denoising import DenoisingScoreMatching
from unigen.objectives.drop_context import DropContext


def small(**options) -> ug.Diffusion:
    program = ug.Diffusion(2, hidden=8, blocks=1, context=3, **options)
    with torch.no_grad():
        program.denoiser.network.output.weight.normal_(std=0.3)
    return program


def test_its_density_is_that_of_its_probability_flow():
    """At w = 1 that of the conditional program, and of a component up to what is left of the data at t = 1."""
    density = ug.ProbabilityFlow(rtol=1e-6, atol=1e-6)
    guided = Guided(labelled_diffusion(), ClassifierFree(1.0), density=density)
    x, label = torch.randn(5, 2).double() * 0.3 + CENTRES[1], torch.tensor([[0.0, 1.0, 0.0]]).double()
    law = torch.distributions.Independent(torch.distributions.Normal(CENTRES[1], STDS[1]), 1)
    found = guided.log_prob(x, label)
    assert str(found.kind) == "exact"
    given = labelled_diffusion().log_prob(x, label, density=density).value
    torch.testing.assert_close(found.value, given, atol=1e-5, rtol=0.0)
    torch.testing.assert_close(found.value, law.log_prob(x), atol=0.1, rtol=0.0)


def test_its_density_integrates_to_one_at_any_scale():
    guided = Guided(labelled_diffusion(), ClassifierFree(3.0))
    axis = torch.linspace(-2.0, 4.0, 41).double()
    grid = torch.cartesian_prod(axis, axis)
    total = (
        guided.log_prob(grid, torch.tensor([[0.0, 1.0, 0.0]]).double()).value.exp().sum() * (6.0 / 40) ** 2
    )
    assert float(total) == pytest.approx(1.0, abs=0.02)


def test_the_laws_hold():
    inside = small(objective=DropContext(DenoisingScoreMatching()))
    solver = {"method": "rk4", "options": {"step_size": 0.1}}
    density, sampler = ug.ProbabilityFlow(**solver), ug.ProbabilityFlowODE(**solver)
    ug.check_program(Guided(inside, ClassifierFree(2.0), density=density, sampler=sampler), budget=20_000)


def test_fitting_it_is_fitting_the_program_inside():
    x = torch.randn(64, 2) + 3.0
    data, steps = (x, torch.eye(3)[torch.arange(64) % 3]), {"steps": 3, "seed": 0}
    one, other = (ug.Diffusion(2, hidden=8, blocks=1, context=3) for _ in range(2))
    other.load_state_dict(one.state_dict())
    guided = Guided(one, ClassifierFree(2.0))
    ug.fit(guided, data, **steps)
    ug.fit(other, data, **steps)
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(guided.denoiser.loc, other.denoiser.loc)
    draws = [
        p.sample(4, torch.eye(3)[:1], sampler=ug.DDIM(3), seed=0)
        for p in (Guided(other, ClassifierFree(2.0)), guided)
    ]
    torch.testing.assert_close(*draws)


def test_a_program_that_is_fitted_later_is_followed():
    inside = small()
    guided = Guided(inside, ClassifierFree(1.0))
    ug.fit(inside, (5.0 * torch.randn(64, 2) + 3.0, torch.eye(3)[torch.arange(64) % 3]), steps=2)
    label = torch.eye(3)[:1]
    draws = [p.sample(4, label, sampler=ug.DDIM(3), seed=0) for p in (inside, guided)]
    torch.testing.assert_close(*draws, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [ug.Diffusion, ug.FlowMatching])
def test_it_is_saved_with_what_is_inside(kind, tmp_path):
    inside = kind(2, hidden=8, blocks=1, context=3)
    guided = Guided(inside, ClassifierFree(2.5), sampler=ug.DPMSolver(4))
    ug.fit(guided, (torch.randn(32, 2) + 1.0, torch.eye(3)[torch.arange(32) % 3]), steps=2)
    again = ug.load(ug.save(guided, tmp_path / "guided.safetensors"))
    assert isinstance(again, Guided)
    assert repr(again.guidance) == "ClassifierFree(scale=2.5, null=0.0)"
    label = torch.eye(3)[1:2]
    assert torch.equal(again.sample(3, label, seed=0), guided.sample(3, label, seed=0))
    twin = copy.deepcopy(guided)
    assert torch.equal(twin.sample(3, label, seed=0), guided.sample(3, label, seed=0))


def test_a_classifier_is_saved_too(tmp_path):
    classifier = ug.NoisyClassifier(2, classes=3, hidden=8)
    guided = Guided(ug.Diffusion(2, hidden=8, blocks=1), ClassifierGuidance(classifier), sampler=ug.DDIM(3))
    again = ug.load(ug.save(guided, tmp_path / "guided.safetensors"))
    label = torch.eye(3)[1:2]
    assert torch.equal(again.sample(3, label, seed=0), guided.sample(3, label, seed=0))


def test_a_discrete_diffusion_is_guided():
    program = ug.DDPM(2, 10, hidden=8, blocks=1, context=3)
    assert Guided(program, ClassifierFree(2.0)).sample(3, torch.eye(3), sampler=ug.DDIM(4)).shape == (3, 2)


def test_misuse_is_refused():
    with pytest.raises(ArgumentError, match="ClassifierFree"):
        Guided(small(), 2.0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="AnnealedSMC"):
        Guided(ug.PPCA(2, 1), ClassifierFree(1.0))
    with pytest.raises(UnsupportedQueryError, match="normal"):
        flow = ug.FlowMatching(2, hidden=8, blocks=1, base=ug.PPCA(2, 1), context=3)
        Guided(flow, ClassifierFree(1.0))
    guided = Guided(
        ug.Diffusion(2, hidden=8, blocks=1), ClassifierGuidance(ug.NoisyClassifier(2, classes=3, hidden=8))
    )
    with pytest.raises(ArgumentError, match="guidance is not trained"):
        ug.fit(guided, (torch.randn(8, 2), torch.eye(3)[torch.arange(8) % 3]), steps=1)
