from __future__ import annotations

import pytest
import torch

from tests.boltzmann_problems import ising_log_mass, random_ising, random_rbm, states
from unigen.densities.mean_field import NaiveMeanField, elbo_of_spins, entropy_of_spins
from unigen.distributions.visible_units import GaussianUnits
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.models.ising import Ising
from unigen.models.rbm import RBM


def test_worked_example():
    model = Ising.grid(3, 3, coupling=0.6).double()
    with torch.no_grad():
        model.field[4] = 0.3
    assert model.states().log_z().item() == pytest.approx(8.714412, abs=5e-7)
    assert NaiveMeanField().log_z(model).value.item() == pytest.approx(8.019951, abs=5e-7)


def test_the_gap_is_the_divergence_from_the_product():
    model = random_ising(5, 0.6)
    found = NaiveMeanField().solve(model)
    s, p = states(5, -1.0), ising_log_mass(model).detach().log_softmax(0)
    log_q = (((1 + s * found.mean) / 2).log()).sum(-1)
    divergence = (log_q.exp() * (log_q - p)).sum()
    gap = ising_log_mass(model).logsumexp(0) - found.log_z.value
    torch.testing.assert_close(gap.detach(), divergence, atol=1e-10, rtol=0)
    assert found.log_z.kind is Kind.LOWER_BOUND


@pytest.mark.parametrize(
    "build", [lambda: random_ising(6, 1.0), lambda: random_rbm(5, 4), lambda: Ising.grid(3, 3)]
)
def test_the_means_are_a_maximum_of_the_bound(build):
    model = build()
    found = NaiveMeanField(tolerance=1e-12).solve(model)
    spins = model.spins()
    fixed = (spins.field + found.mean @ spins.couplings).tanh()
    torch.testing.assert_close(found.mean, fixed, atol=1e-6, rtol=0)
    nearby = (found.mean + 0.02 * torch.randn(200, spins.units)).clamp(-1, 1)
    assert float(elbo_of_spins(spins, nearby).max()) <= float(found.log_z.value) + 1e-9


def test_without_couplings_it_is_exact():
    model = random_ising(4, 0.8, edges=[])
    torch.testing.assert_close(
        NaiveMeanField().log_z(model).value, ising_log_mass(model).detach().logsumexp(0)
    )


def test_entropy_at_the_ends():
    torch.testing.assert_close(entropy_of_spins(torch.tensor([-1.0, 1.0])), torch.zeros(2))


def test_refusals():
    for options in ({"steps": 0}, {"starts": 0}, {"tolerance": 0.0}):
        with pytest.raises(ArgumentError, match="got"):
            NaiveMeanField(**options)
    with pytest.raises(UnsupportedQueryError, match="BernoulliUnits"):
        NaiveMeanField().log_z(RBM(3, 2, visible=GaussianUnits(3)))
