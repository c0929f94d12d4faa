"""The Ising model as a program: its energy edge by edge, its laws, its checkpoints."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from tests.boltzmann_problems import ising_log_mass, random_ising, states
from unigen.densities.normaliser import Enumeration, Normalised
from unigen.errors import ArgumentError, NonFiniteError, ShapeError, SupportError, UnsupportedQueryError
from unigen.inference.fit import fit
from unigen.logprob import Kind
from unigen.models.ising import Ising
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.samplers.gibbs import Gibbs
from unigen.testing.check import check_program


def test_laws():
    check_program(Ising.grid(2, 3, coupling=0.3))
    check_program(Ising(3, coupling=0.2, field=0.1, density=Normalised(), sampler=Gibbs(30)), budget=20_000)


def test_the_energy_is_that_of_the_edges_one_by_one():
    for model in (random_ising(6), random_ising(6, edges=[(0, 1), (4, 2)]), Ising(4, [])):
        s = states(model.field.shape[0], -1.0)
        found = -model.double().energy(s)
        torch.testing.assert_close(found, ising_log_mass(model).detach(), atol=1e-12, rtol=0)


def test_the_chequerboard_has_two_colours():
    assert Ising.grid(4, 5).sizes == [10, 10]
    assert len(Ising.grid(4, 4, periodic=True).blocks) == 2
    assert len(Ising.grid(3, 3, periodic=True).blocks) > 2
    assert len(Ising(5).blocks) == 5


def test_couplings_come_back_as_they_were_given():
    j = torch.randn(4, 4).double().triu(1)
    j[0, 2] = 0.0
    j, theta = j + j.mT, torch.randn(4).double()
    model = Ising.from_couplings(j, theta)
    assert torch.equal(model.couplings.detach(), j) and torch.equal(model.field.detach(), theta)
    assert model.pairs.shape[0] == 5
    assert torch.equal(Ising.from_couplings(j).field.detach(), torch.zeros(4).double())


def test_onsager_like_limits():
    """Without field, a ring of n spins has Z = (2 cosh J)^n + (2 sinh J)^n."""
    n, j = 7, torch.tensor(0.8, dtype=torch.float64)
    ring = Ising(n, [(i, (i + 1) % n) for i in range(n)], coupling=0.8).double()
    exact = ((2 * j.cosh()) ** n + (2 * j.sinh()) ** n).log()
    torch.testing.assert_close(Enumeration().log_z(ring).value.detach(), exact, atol=1e-6, rtol=0)


def test_maximum_likelihood_by_enumeration_finds_the_truth():
    truth = random_ising(4, 0.4)
    x = truth.states().sample(20_000).float()
    model = Ising(4, density=Normalised(), objective=MaximumLikelihood())
    assert model.kind is Kind.EXACT
    fit(model, x, steps=100, lr=0.05, batch_size=5000, progress=False, seed=0)
    found = model.log_prob(x).mean()
    assert found.value >= truth.log_prob(x.double(), density=Normalised()).mean().value - 5e-3
    assert float((model.coupling - truth.coupling).detach().abs().max()) < 0.1


def test_checkpoints(tmp_path):
    for model in (
        Ising.grid(2, 3, coupling=0.4, density=Normalised()),
        Ising.from_couplings(torch.zeros(3, 3)),
    ):
        again = Ising(model.field.shape[0], model.pairs.tolist(), density=model.density)
        ug.load(ug.save(model, tmp_path / "ising.safetensors"), into=again)
        x = model.sample(4, seed=0)
        assert torch.equal(again.sample(4, seed=0), x)
        assert torch.equal(again.log_prob(x).value, model.log_prob(x).value)


def test_refusals():
    model = Ising(3)
    with pytest.raises(SupportError, match="support"):
        model.log_prob(torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="couplings"):
        Ising.from_couplings(torch.zeros(3, 2))
    with pytest.raises(ArgumentError, match="symmetric"):
        Ising.from_couplings(torch.arange(9.0).reshape(3, 3))
    with pytest.raises(NonFiniteError, match="couplings"):
        Ising.from_couplings(torch.full((3, 3), torch.inf))
    with pytest.raises(UnsupportedQueryError, match=r"2\^25.*AnnealedNormaliser"):
        Ising.grid(5, 5).log_prob(torch.ones(1, 25), density=Normalised())
    with pytest.raises(UnsupportedQueryError, match="score"):
        model.score(torch.ones(1, 3))
