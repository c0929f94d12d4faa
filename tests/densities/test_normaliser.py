from __future__ import annotations

import pytest
import torch

from tests.boltzmann_problems import ising_log_mass, log_p, random_ising, random_rbm, states
from unigen.densities.annealed import AnnealedNormaliser
from unigen.densities.mean_field import NaiveMeanField
from unigen.densities.normaliser import Enumeration, Normalised
from unigen.errors import ArgumentError, KindError, UnsupportedQueryError
from unigen.inference.fit import fit
from unigen.logprob import Kind, LogProb
from unigen.models.ppca import PPCA
from unigen.models.rbm import RBM
from unigen.objectives.likelihood import MaximumLikelihood


def test_enumeration_makes_log_prob_exact():
    rbm, ising = random_rbm(5, 3), random_ising(5)
    found = rbm.log_prob(states(5), density=Normalised())
    torch.testing.assert_close(found.value, log_p(rbm).detach(), atol=1e-10, rtol=0)
    assert found.kind is Kind.EXACT and found.stderr is None
    found = ising.log_prob(states(5, -1.0), density=Normalised(Enumeration()))
    torch.testing.assert_close(found.value, ising_log_mass(ising).log_softmax(0).detach(), atol=1e-10, rtol=0)


def test_kinds_follow_from_that_of_log_z():
    rbm, x = random_rbm(5, 3), states(5)[:4]
    with pytest.raises(KindError, match="unnormalised"):
        rbm.log_prob(x).compare(rbm.log_prob(x))
    kinds = {
        Enumeration(): Kind.EXACT,
        AnnealedNormaliser(9, 5): Kind.ESTIMATE,
        NaiveMeanField(): Kind.UPPER_BOUND,
    }
    for normaliser, kind in kinds.items():
        density = Normalised(normaliser)
        found = rbm.log_prob(x, density=density)
        assert found.kind is density.kind is kind
        assert (found.stderr is None) == (kind is not Kind.ESTIMATE)
    lower, upper = AnnealedNormaliser(9, 5).lower(rbm), AnnealedNormaliser(9, 5).upper(rbm)
    assert rbm.log_prob(x, density=Normalised(lower)).kind is Kind.UPPER_BOUND
    assert rbm.log_prob(x, density=Normalised(upper)).kind is Kind.LOWER_BOUND


def test_an_upper_bound_is_above_the_truth():
    ising, x = random_ising(6, 0.5), states(6, -1.0)
    gap = ising.log_prob(x, density=Normalised(NaiveMeanField())).value - ising_log_mass(ising).log_softmax(0)
    assert float(gap.detach().min()) >= -1e-10


def test_a_log_z_that_was_measured_before_is_the_same_for_all():
    rbm = random_rbm(5, 3)
    log_z = AnnealedNormaliser(steps=50, chains=20).log_z(rbm)
    found = rbm.log_prob(states(5), density=Normalised(log_z))
    torch.testing.assert_close(found.value, -rbm.energy(states(5)) - log_z.value, atol=1e-12, rtol=0)
    assert bool((found.stderr == log_z.stderr).all())


def test_maximum_likelihood_by_enumeration_reaches_the_entropy_of_the_data():
    x = states(3)[
        torch.tensor([0, 3, 5, 6])
    ].float()  # even parity: no pairwise model of three spins holds it
    rbm = RBM(3, 4, density=Normalised(), objective=MaximumLikelihood())
    fit(rbm, x.repeat(8, 1), steps=400, lr=0.05, progress=False, seed=0)
    found = rbm.log_prob(x).mean().value
    entropy = torch.tensor(4.0).log().item()
    assert -entropy - 0.25 < found <= -entropy + 1e-5


def test_refusals():
    with pytest.raises(ArgumentError, match="normaliser"):
        Normalised("AIS")
    with pytest.raises(ArgumentError, match="shape"):
        Normalised(LogProb(torch.zeros(3), Kind.EXACT))
    with pytest.raises(UnsupportedQueryError, match=r"2\^21.*AnnealedNormaliser"):
        RBM(30, 21).log_prob(torch.zeros(1, 30), density=Normalised())
    with pytest.raises(UnsupportedQueryError, match="AnnealedNormaliser"):
        Enumeration().log_z(PPCA(3, 1))
