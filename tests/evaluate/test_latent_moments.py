"""Moments of guide and prior: closed forms, torch's KL, draws where there is no closed form."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

import unigen as ug
from tests.programs import Conditional, Switch
from unigen.errors import UnsupportedQueryError
from unigen.evaluate.latent_moments import latent_moments
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE


def test_moments_of_ppca_are_those_of_its_posterior():
    program = PPCA(4, 2).double()
    x = program.sample(7)
    found, q = latent_moments(program, x), program.posterior(x)
    assert found.gaussian
    assert torch.allclose(found.mean, q.mean) and torch.allclose(found.variance, q.variance.expand(7, 2))
    expected = kl_divergence(Normal(q.mean, q.variance.sqrt()), Normal(torch.zeros(2).double(), 1.0))
    assert torch.allclose(found.kl, expected)


def test_a_conditional_vae():
    program = VAE(3, 2, hidden=(4,), context=2)
    x, c = torch.randn(5, 3), torch.randn(5, 2)
    assert torch.allclose(latent_moments(program, x, c).mean, program.posterior(x, c).mean.double())


def test_a_flow_prior_has_moments_by_draws():
    program = VAE(3, 2, hidden=(4,), prior=ug.NSF(2))
    found = latent_moments(program, torch.randn(5, 3), seed=0)
    assert not found.gaussian
    many = program.prior.sample(20_000).double()  # pyright: ignore
    assert ((found.prior_mean - many.mean(0)).abs() < 6 * many.std(0) / 256**0.5).all()


def test_refusals():
    with pytest.raises(UnsupportedQueryError, match="continuous"):
        latent_moments(Switch(), torch.zeros(3, 1))
    with pytest.raises(UnsupportedQueryError):
        latent_moments(Conditional(), torch.zeros(3, 2), torch.zeros(3, 3))
