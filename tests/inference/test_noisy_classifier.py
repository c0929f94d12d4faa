from __future__ import annotations

import pytest
import torch

import unigen as ug
from tests.conditional_problems import SCHEDULE, LabelledMixture, labelled_diffusion
from unigen.errors import ArgumentError, NonFiniteError, ShapeError
from unigen.inference.noisy_classifier import fit_noisy_classifier
from unigen.nn.noisy_classifier import NoisyClassifier


def test_the_loss_comes_down_to_that_of_the_exact_classifier():
    """Cross-entropy on fresh noisy data: above that of p(k | z_t), and close."""
    network, n = LabelledMixture(), 4000
    labels = torch.multinomial(network.weights, n, replacement=True)
    x = network.centres[labels] + network.stds[labels][:, None] * torch.randn(n, 2).double()
    classifier, program = NoisyClassifier(2, classes=3, hidden=16, blocks=1), labelled_diffusion(0)
    losses = fit_noisy_classifier(classifier, program, x, labels, steps=300, lr=1e-2, batch_size=128, seed=0)
    assert len(losses) == 300
    t, eps, y = torch.rand(n).double(), torch.randn(n, 2).double(), torch.eye(3).double()[labels]
    z = SCHEDULE.alpha(t)[:, None] * x + SCHEDULE.sigma(t)[:, None] * eps
    with torch.no_grad():
        gap = network.log_prob(z, t, y) - classifier(z, t, y)
    assert -5 * float(gap.std()) / n**0.5 < float(gap.mean()) < 0.1


def test_a_seed_reproduces_and_conditional_programs_lend_their_path():
    program, x, labels = (
        ug.Diffusion(2, hidden=8, blocks=1, context=4),
        torch.randn(20, 2),
        torch.arange(20) % 2,
    )
    classifiers, before = [], torch.get_rng_state()
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            classifiers.append(NoisyClassifier(2, classes=2, hidden=8))
        fit_noisy_classifier(classifiers[-1], program, x, labels, steps=2, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    for one, other in zip(*(c.parameters() for c in classifiers), strict=True):
        assert torch.equal(one, other)


def test_labels_are_checked():
    program, classifier, x = (
        ug.Diffusion(2, hidden=8, blocks=1),
        NoisyClassifier(2, classes=2, hidden=8),
        torch.randn(6, 2),
    )
    with pytest.raises(ShapeError, match=r"labels.*\(6,\)"):
        fit_noisy_classifier(classifier, program, x, torch.zeros(5).long())
    for labels in (torch.full((6,), 2), torch.full((6,), -1), torch.zeros(6)):
        with pytest.raises(ArgumentError, match="from 0 to 1"):
            fit_noisy_classifier(classifier, program, x, labels)
    with pytest.raises(NonFiniteError):
        fit_noisy_classifier(classifier, program, x * torch.nan, torch.zeros(6).long())
    with pytest.raises(ArgumentError, match="steps"):
        fit_noisy_classifier(classifier, program, x, torch.zeros(6).long(), steps=0)
