"""Products of experts: Gaussian experts in closed form."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import MultivariateNormal

import unigen as ug
from unigen.densities.annealed import AnnealedNormaliser
from unigen.densities.normaliser import Normalised
from unigen.errors import ArgumentError, NoDensityError, ShapeError
from unigen.logprob import Kind
from unigen.models.product_of_experts import ProductOfExperts
from unigen.objectives.score_matching import ScoreMatching

WEIGHTS = (1.0, 2.0)


def gaussians() -> tuple[ProductOfExperts, MultivariateNormal]:
    """Two factor analyses, and their product: precisions add, weighted."""
    experts, precision, shift = [], torch.zeros(2, 2).double(), torch.zeros(2).double()
    for w, loc in zip(WEIGHTS, (2.0, -1.0), strict=True):
        expert = ug.FactorAnalysis(2, 1).double()
        ug.fit(expert, loc + torch.randn(100, 2).double() @ torch.randn(2, 2).double(), progress=False)
        q = expert.marginal()
        inverse = torch.linalg.inv(q.covariance_matrix.detach())
        precision, shift = precision + w * inverse, shift + w * inverse @ q.mean.detach()
        experts.append(expert)
    return ProductOfExperts(experts, WEIGHTS), MultivariateNormal(
        torch.linalg.solve(precision, shift), precision_matrix=precision
    )


def test_energy_and_score_of_gaussian_experts_are_those_of_the_product():
    program, truth = gaussians()
    x = torch.randn(20, 2).double()
    found = program.log_prob(x)
    assert found.kind is Kind.UNNORMALISED
    apart = found.value - truth.log_prob(x)
    torch.testing.assert_close(apart, apart[:1].expand(20), atol=1e-9, rtol=0)
    expected = -(x - truth.mean) @ truth.precision_matrix
    torch.testing.assert_close(program.score(x), expected, atol=1e-9, rtol=0)
    log_z = AnnealedNormaliser(steps=20, chains=200, leapfrog=3).log_z(program)
    assert abs(log_z.value - apart[0]) < 5 * log_z.stderr + 1e-6
    assert program.log_prob(x, density=Normalised(log_z)).kind is Kind.ESTIMATE


def test_draws_have_the_moments_of_the_product():
    program, truth = gaussians()
    unit = float(truth.variance.min())
    x = program.sample(3000, sampler=ug.Langevin(steps=150, step_size=0.3 * unit, adjusted=True), seed=0)
    z = torch.linalg.solve_triangular(truth.scale_tril, (x - truth.mean).mT, upper=False)
    assert (z.mean(1) * 3000**0.5).abs().max() < 5
    assert ((z.square().mean(1) - 1) * (1500**0.5)).abs().max() < 5


def test_it_is_trained_saved_and_loaded(tmp_path):
    program = ProductOfExperts(
        [ug.FactorAnalysis(2, 1), ug.GaussianMixture(2, 2)], (1.0, 0.5), objective=ScoreMatching()
    )
    x = torch.randn(50, 2)
    ug.fit(program, x, steps=2, progress=False, compile=False)
    again = ug.load(ug.save(program, tmp_path / "product.safetensors"))
    torch.testing.assert_close(again.log_prob(x).value, program.log_prob(x).value)
    assert again.weights == (1.0, 0.5)


def test_the_laws_of_every_program():
    short = ug.Langevin(steps=10, step_size=0.05, adjusted=True)
    program = ProductOfExperts([ug.FactorAnalysis(2, 1), ug.GaussianMixture(2, 2)], sampler=short)
    ug.check_program(program, torch.randn(30, 2))


def test_experts_share_a_context():
    flows = [ug.RealNVP(2, context=1, hidden=(4,)) for _ in range(2)]
    program, c = ProductOfExperts(flows), torch.randn(3, 1)
    x = torch.randn(3, 2)
    expected = sum(flow.log_prob(x, c).value for flow in flows)
    torch.testing.assert_close(program.log_prob(x, c).value, expected)
    assert program.sample(3, c, sampler=ug.Langevin(2, adjusted=True)).shape == (3, 2)


def test_bad_experts_are_refused():
    with pytest.raises(ArgumentError, match="at least one expert"):
        ProductOfExperts([])
    with pytest.raises(ArgumentError, match="positive weight"):
        ProductOfExperts([ug.PPCA(2, 1)], [-1.0])
    with pytest.raises(ShapeError, match="same x"):
        ProductOfExperts([ug.PPCA(2, 1), ug.PPCA(3, 1)])
    with pytest.raises(NoDensityError, match="lower bound"):
        ProductOfExperts([ug.VAE(2, 1)])
