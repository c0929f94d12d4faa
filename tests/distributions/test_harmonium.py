"""The harmonium against the table of all pairs of states, and against quadrature for Gaussian units."""

from __future__ import annotations

import math

import pytest
import torch

from tests.boltzmann_problems import chi_squared, joint_table, log_p, random_rbm, states
from unigen.distributions.harmonium import Harmonium, HarmoniumPath
from unigen.distributions.visible_units import GaussianUnits
from unigen.errors import ArgumentError, UnsupportedQueryError


@pytest.mark.parametrize(("features", "hidden"), [(5, 3), (3, 5)])
def test_sums_over_either_layer_and_conditionals(features, hidden):
    joint = random_rbm(features, hidden).joint
    table = joint_table(random_like(joint))
    x, h = states(features), states(hidden)
    shift = joint.states().log_z() - table.logsumexp((0, 1))  # the constant of centring
    torch.testing.assert_close(joint.log_mass(x), table.logsumexp(1) + shift, atol=1e-10, rtol=0)
    torch.testing.assert_close(joint.log_mass_of_hidden(h), table.logsumexp(0) + shift, atol=1e-10, rtol=0)
    given_x = (table - table.logsumexp(1, keepdim=True)).exp() @ h
    torch.testing.assert_close(joint.logits(x).sigmoid(), given_x, atol=1e-10, rtol=0)
    given_h = (table - table.logsumexp(0, keepdim=True)).exp().mT @ x
    torch.testing.assert_close(joint.visible.conditional(joint.sent(h)).mean, given_h, atol=1e-10, rtol=0)
    assert joint.states().units == min(features, hidden)


def random_like(joint):
    """Return an RBM that holds this harmonium, for the tables."""
    rbm = random_rbm(*joint.weight.shape)
    rbm.joint = joint
    return rbm


def test_the_spins_are_the_same_model():
    rbm = random_rbm(4, 3)
    s = states(7, -1.0)
    joint = rbm.joint
    both = joint.visible.log_base((s[:, :4] + 1) / 2) + ((s[:, 4:] + 1) / 2) @ joint.bias
    both = both + (joint.visible.statistic((s[:, :4] + 1) / 2) * joint.sent((s[:, 4:] + 1) / 2)).sum(-1)
    torch.testing.assert_close(rbm.spins().log_mass(s), both.detach(), atol=1e-10, rtol=0)


def test_gaussian_units_by_quadrature():
    joint = Harmonium(GaussianUnits(1), 3).double()
    with torch.no_grad():
        for value in joint.parameters():
            value.copy_(torch.randn_like(value))
    x = torch.linspace(-60, 60, 200_001, dtype=torch.float64)[:, None]
    by_grid = joint.log_mass(x).logsumexp(0) + math.log(6e-4)
    torch.testing.assert_close(joint.states().log_z(), by_grid, atol=1e-8, rtol=0)


def test_a_sweep_leaves_the_density_invariant_at_every_temperature():
    rbm, n = random_rbm(4, 3, scale=1.5), 20_000
    x = rbm.states().sample(n)
    assert chi_squared(x, states(4), log_p(rbm).exp()) > 1e-6
    assert chi_squared(rbm.joint.sweep(x), states(4), log_p(rbm).exp()) > 1e-6
    path, s = HarmoniumPath(rbm.joint), states(4)
    p = path.log_density(path.state(s), 0.6).softmax(0)
    start = s[torch.multinomial(p, n, replacement=True)]
    assert chi_squared(path.transition(path.state(start), 0.6).x, s, p) > 1e-6


def test_the_path_has_the_ends_it_says():
    rbm = random_rbm(4, 3)
    path = HarmoniumPath(rbm.joint)
    state = path.state(states(4))
    torch.testing.assert_close(
        path.log_density(state, 1.0), rbm.joint.log_mass(states(4)), atol=1e-12, rtol=0
    )
    assert path.log_density(state, 0.0).logsumexp(0).item() == pytest.approx(path.log_z_base, abs=1e-10)
    p = path.log_density(state, 0.0).softmax(0)
    assert chi_squared(path.start(20_000).x, states(4), p) > 1e-6


def test_refusals():
    gaussian = Harmonium(GaussianUnits(2), 2)
    for query in (gaussian.standard, gaussian.spins):
        with pytest.raises(UnsupportedQueryError, match="BernoulliUnits"):
            query()
    with pytest.raises(ArgumentError, match="hidden"):
        Harmonium(GaussianUnits(2), 0)
