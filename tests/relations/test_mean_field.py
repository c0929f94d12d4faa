"""Relation 4: two states and two spins by enumeration, a bound without its entropy, and mixtures."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy import optimize

from unigen.errors import UnsupportedQueryError
from unigen.models.mixture import GaussianMixture
from unigen.models.ppca import PPCA
from unigen.relations.mean_field import MeanFieldVI

RELATION = MeanFieldVI()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["log_z"] == pytest.approx(1.548587, abs=5e-7)


def test_other_parameters():
    assert RELATION.check(beta=0.2, coupling=1.4, field=0.05, guesses=(0.5,)).holds


def test_the_best_product_of_two_spins_by_another_optimiser():
    j, h = 0.8, 0.3
    states = list(itertools.product((1, -1), repeat=2))
    weights = torch.tensor([j * s * t + h * (s + t) for s, t in states]).double()

    def loss(logits):
        p = [1 / (1 + math.exp(-v)) for v in logits]
        q = torch.tensor(
            [(p[0] if s > 0 else 1 - p[0]) * (p[1] if t > 0 else 1 - p[1]) for s, t in states]
        ).double()
        return -float((q * weights - torch.xlogy(q, q)).sum())

    best = min(
        optimize.minimize(loss, start, method="Nelder-Mead", tol=1e-10).fun for start in ([1, 1], [-1, -1])
    )
    assert RELATION.check().details["mean_field_of_the_pair"] == pytest.approx(-best, abs=1e-6)


class WithoutEntropy(MeanFieldVI):
    """Reports the expected energy as the bound."""

    def entropy(self, q):
        return 0.0


class ReverseKL(MeanFieldVI):
    """Measures KL(p ‖ q)."""

    def divergence(self, q, log_weights):
        p = torch.softmax(log_weights, 0)
        return float((torch.xlogy(p, p) - torch.xlogy(p, q)).sum())


@pytest.mark.parametrize("broken", [WithoutEntropy, ReverseKL])
def test_a_broken_identity_is_seen(broken):
    assert not broken().check().holds


class WrongPosterior(GaussianMixture):
    """A guide that forgets the weights of the components."""

    def guide(self, x):
        import pyro
        from pyro import distributions as dist

        with self.plate(x):
            return pyro.sample("z", dist.Categorical(logits=self._joint(x) - self.logits))


def uneven(mixture):
    with torch.no_grad():
        mixture.logits.copy_(torch.linspace(-1, 1, mixture.components))
    return mixture


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_programs(covariance):
    mixture = uneven(GaussianMixture(3, 4, covariance=covariance))
    evidence = RELATION.check_programs(mixture, mixture, torch.randn(50, 3))
    assert evidence.holds, evidence
    wrong = uneven(WrongPosterior(3, 4))
    assert not RELATION.check_programs(wrong, wrong, torch.randn(50, 3)).holds


def test_refuses():
    ppca = PPCA(3, 1)
    with pytest.raises(UnsupportedQueryError, match="states can be listed"):
        RELATION.check_programs(ppca, ppca, torch.zeros(2, 3))
