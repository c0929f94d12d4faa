from __future__ import annotations

import networkx
import pytest
import torch

from tests.boltzmann_problems import ising_log_mass, joint_table, random_ising, random_rbm, states
from unigen.densities.belief_propagation import BeliefPropagation
from unigen.densities.mean_field import NaiveMeanField
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.models.ising import Ising
from unigen.models.ppca import PPCA

TREES = {
    "star": [(0, i) for i in range(1, 7)],
    "chain": [(i, i + 1) for i in range(6)],
    "forest": [(0, 1), (1, 2), (3, 4), (4, 5)],
    "no edge": [],
}


@pytest.mark.parametrize("name", sorted(TREES))
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_on_trees_it_is_exact(name, scale):
    model = random_ising(7, scale, edges=TREES[name])
    found = BeliefPropagation(tolerance=1e-13).solve(model)
    log_mass = ising_log_mass(model).detach()
    torch.testing.assert_close(found.log_z.value, log_mass.logsumexp(0), atol=1e-8, rtol=0)
    torch.testing.assert_close(found.mean, log_mass.softmax(0) @ states(7, -1.0), atol=1e-8, rtol=0)
    assert found.log_z.kind is Kind.EXACT


def test_on_random_trees_of_any_shape():
    for seed in torch.randint(10_000, (5,)).tolist():
        tree = networkx.from_prufer_sequence(
            torch.randint(8, (6,), generator=torch.Generator().manual_seed(seed)).tolist()
        )
        model = random_ising(8, 1.0, edges=[tuple(edge) for edge in tree.edges])
        found = BeliefPropagation().log_z(model).value
        torch.testing.assert_close(found, ising_log_mass(model).detach().logsumexp(0), atol=1e-8, rtol=0)


def test_with_loops_it_is_an_estimate_better_than_mean_field():
    model = random_ising(9, 0.3, edges=Ising.grid(3, 3).pairs.tolist())
    found, truth = BeliefPropagation().log_z(model), ising_log_mass(model).detach().logsumexp(0)
    assert found.kind is Kind.ESTIMATE
    mean_field = NaiveMeanField().log_z(model).value
    assert abs(found.value - truth) < 0.5 * abs(mean_field - truth)


def test_an_rbm_with_one_hidden_unit_is_a_star():
    rbm = random_rbm(5, 1)
    found = BeliefPropagation().solve(rbm)
    torch.testing.assert_close(found.log_z.value, rbm.states().log_z().detach(), atol=1e-8, rtol=0)
    p = joint_table(rbm).detach().flatten().softmax(0).reshape(32, 2)
    torch.testing.assert_close((1 + found.mean[:5]) / 2, p.sum(1) @ states(5), atol=1e-8, rtol=0)


def test_damping_changes_the_way_and_not_the_end():
    model = random_ising(9, 0.3, edges=Ising.grid(3, 3).pairs.tolist())
    one, two = (BeliefPropagation(damping=d, tolerance=1e-12).log_z(model).value for d in (0.0, 0.6))
    torch.testing.assert_close(one, two, atol=1e-9, rtol=0)


def test_refusals():
    for options in ({"steps": 0}, {"damping": 1.0}, {"tolerance": 0.0}):
        with pytest.raises(ArgumentError, match="got"):
            BeliefPropagation(**options)
    with pytest.raises(UnsupportedQueryError, match="pairwise"):
        BeliefPropagation().log_z(PPCA(3, 1))
    with pytest.raises(UnsupportedQueryError, match="damping"):
        BeliefPropagation(steps=1).log_z(random_ising(6, 1.0))
