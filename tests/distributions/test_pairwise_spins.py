from __future__ import annotations

import pytest
import torch

from tests.boltzmann_problems import ising_log_mass, random_ising, states
from unigen.distributions.pairwise_spins import PairwiseSpins
from unigen.errors import ArgumentError, NonFiniteError, ShapeError


def test_the_mass_is_that_of_the_edges_one_by_one():
    model = random_ising(5)
    spins = model.spins()
    torch.testing.assert_close(
        spins.log_mass(states(5, -1.0)), ising_log_mass(model).detach(), atol=1e-12, rtol=0
    )
    assert spins.edges().tolist() == model.pairs.tolist()


def test_forests_are_told_from_graphs_with_loops():
    assert random_ising(5, edges=[(0, 1), (1, 2), (3, 4)]).spins().acyclic
    assert random_ising(5, edges=[(0, 1), (1, 2), (3, 4)]).spins().components() == 2
    assert not random_ising(3).spins().acyclic


def test_what_is_no_model_is_refused():
    good, zero = torch.zeros(3, 3), torch.zeros(3)
    with pytest.raises(ShapeError, match="couplings"):
        PairwiseSpins(torch.zeros(3, 2), zero)
    with pytest.raises(ShapeError, match="field"):
        PairwiseSpins(good, torch.zeros(2))
    with pytest.raises(ArgumentError, match="symmetric"):
        PairwiseSpins(torch.arange(9.0).reshape(3, 3), zero)
    with pytest.raises(ArgumentError, match="diagonal"):
        PairwiseSpins(torch.eye(3), zero)
    with pytest.raises(NonFiniteError, match="field"):
        PairwiseSpins(good, torch.tensor([0.0, torch.nan, 0.0]))
