"""Draws by block Gibbs against probabilities by enumeration."""

from __future__ import annotations

import pytest
import torch

from tests.boltzmann_problems import chi_squared, ising_log_mass, log_p, random_ising, random_rbm, states
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.models.ppca import PPCA
from unigen.models.rbm import RBM
from unigen.samplers.gibbs import Gibbs


def test_the_ends_of_long_chains_have_the_probabilities_of_the_model():
    rbm = random_rbm(4, 3)
    assert chi_squared(rbm.sample(10_000, sampler=Gibbs(80)), states(4), log_p(rbm).exp()) > 1e-6
    ising = random_ising(4)
    p = ising_log_mass(ising).softmax(0)
    assert chi_squared(ising.sample(10_000, sampler=Gibbs(80)), states(4, -1.0), p) > 1e-6


def test_a_chain_without_steps_stands_where_it_started():
    rbm = RBM(3, 2, chains=4)
    found = rbm.sample(9, sampler=Gibbs(0))
    assert found.shape == (9, 3)
    assert {tuple(row) for row in found.tolist()} == {tuple(row) for row in rbm.chains.x.tolist()}


def test_refusals():
    with pytest.raises(ArgumentError, match="steps"):
        Gibbs(-1)
    with pytest.raises(UnsupportedQueryError, match="sweep"):
        PPCA(3, 1).sample(2, sampler=Gibbs(2))

    class Short(RBM):
        def start(self, n, context=None):
            return torch.zeros(n, 2)

    with pytest.raises(ValueError, match="start"):
        Short(3, 2).sample(2)
