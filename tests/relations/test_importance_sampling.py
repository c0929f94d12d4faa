"""Relation 30: the closed form, one broken on purpose, and the weights of guides that are and are not exact."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import integrate, stats

from unigen.errors import UnsupportedQueryError
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.mixture import GaussianMixture
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.relations.importance_sampling import ImportanceSampling
from unigen.relations.linear_vae import affine
from unigen.relations.ppca_vae import PPCALinearVAE

RELATION = ImportanceSampling()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    exact = integrate.quad(lambda x: stats.norm.pdf(x) ** 2 / stats.norm.pdf(x, 1.0, 1.3), -20, 20)[0]
    assert evidence.details["chi_squared"] == pytest.approx(exact - 1, abs=1e-6)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (-0.4, 2.0), (1.5, 1.6)])
def test_other_parameters(shift, scale):
    assert RELATION.check(shift=shift, scale=scale).holds


class Kullback(ImportanceSampling):
    """Takes exp KL(p ‖ q) for the second moment of the weights, which it bounds from below."""

    def second_moment(self, shift, scale):
        return math.exp(math.log(scale) + (1 + shift**2) / (2 * scale**2) - 0.5)


class Direct(ImportanceSampling):
    """Divides by the largest weight instead of the mean square."""

    def effective(self, log_w):
        share, error = super().effective(log_w)
        w = torch.exp(log_w.double() - log_w.double().max(0).values)
        return w.mean(0), error + 0 * share


@pytest.mark.parametrize("broken", [Kullback, Direct])
def test_a_broken_identity_is_seen(broken):
    assert not broken().check().holds


def test_gaussian_in_two_dimensions_by_quadrature():
    m_p, m_q = torch.tensor([[0.2, -0.1]]).double(), torch.tensor([[0.5, 0.3]]).double()
    cov_p, cov_q = (
        torch.tensor([[[1.0, 0.3], [0.3, 0.8]]]).double(),
        torch.tensor([[[1.4, 0.1], [0.1, 1.2]]]).double(),
    )
    axis = torch.linspace(-9, 9, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    p, q = (torch.distributions.MultivariateNormal(m[0], c[0]) for m, c in ((m_p, cov_p), (m_q, cov_q)))
    total = (2 * p.log_prob(grid) - q.log_prob(grid)).exp().sum() * (axis[1] - axis[0]) ** 2
    torch.testing.assert_close(RELATION.gaussian(m_p, cov_p, m_q, cov_q)[0], total, rtol=1e-6, atol=0)


def loose_vae() -> VAE:
    """A linear VAE whose encoder is a little off and wider than the posterior."""
    ppca = PPCA(4, 2).double()
    vae = PPCALinearVAE().to_vae(ppca)
    with torch.no_grad():
        layer = affine(vae.encoder)
        layer.bias[:2].add_(0.3)
        layer.bias[2:].add_(0.4)
    return vae


def test_programs():
    x = torch.randn(20, 4).double()
    for program in (PPCA(4, 2), FactorAnalysis(4, 2), loose_vae()):
        evidence = RELATION.check_programs(program, program, x)
        assert evidence.holds, evidence
    assert evidence.right < 0.98
    vae = loose_vae()
    assert not Direct().check_programs(vae, vae, x).holds


def test_refuses():
    with pytest.raises(UnsupportedQueryError, match="finite fourth moment"):
        RELATION.check(scale=0.8)
    narrow = loose_vae()
    with torch.no_grad():
        affine(narrow.encoder).bias[2:].sub_(6.0)
    with pytest.raises(UnsupportedQueryError, match="wider than the posterior"):
        RELATION.check_programs(narrow, narrow, torch.randn(3, 4).double())
    for program in (VAE(4, 2), GaussianMixture(4, 2)):
        with pytest.raises(UnsupportedQueryError, match="known in closed form"):
            RELATION.check_programs(program, program, torch.zeros(2, 4))
