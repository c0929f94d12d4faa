"""Relation 33: the three latents are white at the optimum, and neither half-scaled axes nor bare means are."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from unigen.errors import NotFittedError, UnsupportedQueryError
from unigen.evaluate.whiteness import whiteness
from unigen.models.pca import PCA
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.relations.ppca_vae import PPCALinearVAE
from unigen.relations.relate import relate
from unigen.relations.whitening import Whitening

RELATION = Whitening()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert len(evidence.claims) == 7


def test_other_parameters():
    assert RELATION.check(eigenvalues=(9.0, 3.0, 2.0, 0.1), latents=3, seed=4).holds


class HalfScaled(Whitening):
    """Divides by the variance instead of its root."""

    def coordinates(self, pca, x):
        return super().coordinates(pca, x) / pca.explained_variance.sqrt()


class BareMeans(Whitening):
    """Forgets the spread of each posterior."""

    def within(self, covariance):
        return 0 * covariance


@pytest.mark.parametrize("broken", [HalfScaled, BareMeans])
def test_a_broken_identity_is_seen(broken):
    assert not broken().check().holds


def fitted(n: int = 3000):
    x = (torch.randn(n, 5).double() * torch.tensor([3.0, 2, 1.4, 1.2, 1.2])) @ torch.linalg.qr(
        torch.randn(5, 5).double()
    ).Q
    pca, ppca = PCA(5, 2).double(), PPCA(5, 2).double()
    for program in (pca, ppca):
        ug.fit(program, x)
    return pca, ppca, PPCALinearVAE().to_vae(ppca), x


def test_programs():
    pca, ppca, vae, x = fitted()
    for a, b in ((ppca, pca), (ppca, vae), (pca, vae)):
        evidence = RELATION.check_programs(a, b, x)
        assert evidence.holds, evidence
    assert not BareMeans().check_programs(ppca, vae, x).holds
    assert any(each.id == 33 for each in relate(pca, vae, x).evidence)


def test_moments_are_those_of_the_evaluation():
    _, ppca, _, x = fitted(200)
    mean, covariance = RELATION.moments(ppca, 1.5 * x)
    other = whiteness(ppca, 1.5 * x)
    torch.testing.assert_close(mean, other.mean)
    torch.testing.assert_close(covariance, other.covariance)


def test_data_of_another_scale_are_not_white():
    _, ppca, vae, x = fitted()
    assert not RELATION.check_programs(ppca, vae, 1.5 * x).holds


def test_refuses():
    pca, ppca, _, x = fitted(50)
    with pytest.raises(NotFittedError, match="at the optimum"):
        RELATION.check_programs(ppca, VAE(5, 2), x)
    with pytest.raises(UnsupportedQueryError, match="N\\(0, I\\)"):
        RELATION.check_programs(ppca, VAE(5, 2, prior=PPCA(2, 1)), x)
    with pytest.raises(UnsupportedQueryError, match="at least two"):
        RELATION.check_programs(ppca, pca, x[:1])
