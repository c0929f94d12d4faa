"""Relation 3: the worked example, conversions, and each of its four identities broken on purpose."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from tests import problems
from unigen.errors import NotFittedError, UnsupportedQueryError
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.pca import PCA
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.relations.linear_family import LinearFamily
from unigen.relations.relate import convert, relate

RELATION = LinearFamily()


def fitted(program, x):
    program = program.double()
    ug.fit(program, x, seed=0, steps=20)
    return program


def cloud(n: int = 400) -> torch.Tensor:
    return torch.randn(n, 5).double() * torch.tensor([3.0, 2, 1, 0.5, 0.5]) @ torch.randn(5, 5).double() + 1


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["residual"] == pytest.approx(2.0, abs=1e-12)
    assert evidence.claims[4].left == pytest.approx(2.0, abs=1e-6)


@pytest.mark.parametrize(("eigenvalues", "latents"), [((3.0, 1.0), 1), ((9.0, 7.0, 5.0, 2.0, 1.0, 0.2), 4)])
def test_other_spectra(eigenvalues, latents):
    assert RELATION.check(eigenvalues=eigenvalues, latents=latents).holds


class UnequalNoise(LinearFamily):
    def noise(self, ppca):
        return super().noise(ppca) * torch.linspace(0.9, 1.1, ppca.mean.shape[0])


class NoRotation(LinearFamily):
    """Multiplies W by a matrix that is not orthogonal."""

    def turn(self, ppca):
        turned = super().turn(ppca)
        turned.write(1.05 * turned.weight, turned.mean, turned.variance)
        return turned


class WrongAxes(LinearFamily):
    """An autoencoder on the axes 2, 3 instead of 1, 2: stationary, and no minimum."""

    def autoencoder(self, x, latents):
        axes = torch.eye(x.shape[1], dtype=x.dtype)[:, 1 : latents + 1]
        return (x - x @ axes @ axes.mT).square().sum(-1).mean().item(), axes


class WithoutLimit(LinearFamily):
    """Keeps σ² where it should vanish."""

    def limit_error(self, pca, x, variance):
        return super().limit_error(pca, x, 0.5 + variance)


@pytest.mark.parametrize("broken", [UnequalNoise, NoRotation, WrongAxes, WithoutLimit])
def test_a_broken_identity_is_seen(broken):
    assert not broken().check().holds


def test_conversions_are_exact_and_round_trip():
    x = cloud()
    ppca = fitted(PPCA(5, 2), x)
    fa = convert(ppca, to="FactorAnalysis")
    mean, w = ppca.mean.detach().numpy(), ppca.weight.detach().numpy()
    dense = w @ w.T + ppca.variance.item() * torch.eye(5).double().numpy()
    expected = torch.as_tensor(problems.gaussian_log_density(x.numpy(), mean, dense))
    torch.testing.assert_close(fa.log_prob(x).value.detach(), expected, rtol=0, atol=1e-9)
    back = convert(fa, to="PPCA")
    torch.testing.assert_close(back.log_prob(x).value, ppca.log_prob(x).value, rtol=0, atol=1e-10)
    pca, own = convert(ppca, to="PCA"), fitted(PCA(5, 2), x)
    torch.testing.assert_close(pca.explained_variance, own.explained_variance)
    torch.testing.assert_close(pca.residual_variance, own.residual_variance)
    torch.testing.assert_close(pca.reconstruct(x), own.reconstruct(x))
    again = convert(own, to="PPCA")
    torch.testing.assert_close(again.log_prob(x).value, ppca.log_prob(x).value)
    assert back.fitted and pca.fitted and again.fitted


def test_programs():
    x = cloud()
    ppca, pca, fa = (fitted(family(5, 2), x) for family in (PPCA, PCA, FactorAnalysis))
    assert RELATION.check_programs(ppca, pca, x).holds
    assert RELATION.check_programs(ppca, fa, x).holds
    assert any(e.id == 3 for e in relate(fa, ppca, x).evidence)
    other = fitted(PCA(5, 2), cloud())
    assert not RELATION.check_programs(ppca, other, x).holds


def test_a_factor_analysis_worse_than_ppca_is_seen():
    x = cloud()
    ppca, fa = fitted(PPCA(5, 2), x), FactorAnalysis(5, 2).double()
    fa.fitted = True
    assert not RELATION.check_programs(ppca, fa, x).holds


def test_what_the_theorem_does_not_license_is_refused():
    x = cloud()
    fa = fitted(FactorAnalysis(5, 2), x)
    with pytest.raises(UnsupportedQueryError, match="one noise variance for all features"):
        convert(fa, to="PPCA")
    with pytest.raises(NotFittedError, match="at the optimum"):
        RELATION.check_programs(PPCA(5, 2), fa, x)
    with pytest.raises(UnsupportedQueryError, match="a discarded variance"):
        RELATION.convert(PCA(3, 3), to="PPCA")
    with pytest.raises(UnsupportedQueryError, match="complete data"):
        RELATION.convert(PPCA(3, 1, missing=True), to="FactorAnalysis")
    with pytest.raises(UnsupportedQueryError, match="a PPCA, PCA or FactorAnalysis"):
        RELATION.convert(VAE(3, 1), to="PPCA")
    with pytest.raises(UnsupportedQueryError, match="licenses no conversion"):
        RELATION.convert(PPCA(3, 1), to="VAE")
