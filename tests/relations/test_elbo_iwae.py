"""Relation 6: the ladder from the ELBO to the evidence, and the ladder broken on purpose."""

from __future__ import annotations

import math

import pytest
import torch

from tests import problems
from tests.programs import SharedMean
from unigen.errors import NoDensityError, UnsupportedQueryError
from unigen.models.mixture import GaussianMixture
from unigen.models.pca import PCA
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.relations.elbo_iwae import ELBOtoIWAE, bound_by_quadrature

RELATION = ELBOtoIWAE()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["evidence"] == pytest.approx(-1.515512, abs=1e-6)
    assert evidence.details["limit"] == pytest.approx(0.182059, abs=1e-6)
    for k, value, digits in ((1, -1.918939, 1e-6), (5, -1.5574, 5e-5), (50, -1.5193, 1.5e-4)):
        assert evidence.details[f"L_{k}"] == pytest.approx(value, abs=digits)


@pytest.mark.parametrize("x", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("k", [1, 5, 50])
def test_quadrature_is_an_independent_one(x, k):
    assert bound_by_quadrature(x, k) == pytest.approx(problems.toy_bound(k, x), abs=1e-7)


def test_first_bound_in_closed_form():
    assert bound_by_quadrature(0.7, 1) == pytest.approx(
        -0.5 * math.log(2 * math.pi) - 0.5 * (1 + 0.49), abs=1e-9
    )


def test_limit_is_half_the_variance():
    evidence = RELATION.check(x=0.3, samples=(1, 2), draws=2000)
    assert evidence.holds, evidence
    assert evidence.details["limit"] == pytest.approx(problems.toy_weight_variance(0.3) / 2, abs=1e-6)


class MeanOfLogs(ELBOtoIWAE):
    """Averages the logarithms instead of the weights."""

    def estimate(self, program, x, k, context=None):
        return torch.stack([super(MeanOfLogs, self).estimate(program, x, 1) for _ in range(k)]).mean(0)


class WithoutLogK(ELBOtoIWAE):
    """Sums the weights instead of averaging them: above the evidence."""

    def estimate(self, program, x, k, context=None):
        return super().estimate(program, x, k) + math.log(k)


@pytest.mark.parametrize("broken", [MeanOfLogs, WithoutLogK])
def test_a_broken_identity_is_seen(broken):
    assert not broken().check(draws=4000).holds


def test_a_bound_above_the_evidence_is_seen_on_a_program():
    ppca = PPCA(4, 2).double()
    assert not WithoutLogK().check_programs(ppca, ppca, ppca.sample(100, seed=0)).holds


def test_programs():
    ppca, mixture, vae = PPCA(4, 2).double(), GaussianMixture(4, 3), VAE(4, 2)
    for program in (ppca, mixture, vae):
        evidence = RELATION.check_programs(program, program, program.sample(200, seed=0))
        assert evidence.holds, evidence
        assert len(evidence.claims) == (2 if program is vae else 3)


def test_refuses():
    pca, flat = PCA(4, 2), SharedMean()
    with pytest.raises(NoDensityError, match="PPCA"):
        RELATION.check_programs(pca, pca, torch.randn(3, 4))
    with pytest.raises(UnsupportedQueryError, match="a latent variable for each example"):
        RELATION.check_programs(flat, flat, torch.randn(3, 1))
