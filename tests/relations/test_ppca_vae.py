"""Relation 1: the worked example, conversions, and the identity broken on purpose."""

from __future__ import annotations

import pytest
import torch

from tests import problems
from unigen.distributions.likelihoods import Gaussian
from unigen.distributions.posteriors import FullCovariance
from unigen.errors import UnsupportedQueryError
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE, linear_vae
from unigen.nn.mlp import MLP
from unigen.objectives.elbo import elbo
from unigen.relations.ppca_vae import PPCALinearVAE, axis_points, spectral_log_likelihood

RELATION = PPCALinearVAE()


def rotated_ppca(d: int = 6, q: int = 3) -> PPCA:
    """A PPCA whose latent axes are not the principal ones, so that its posterior covariance is not diagonal."""
    ppca = PPCA(d, q).double()
    ppca.write(torch.randn(d, q).double(), torch.randn(d).double(), torch.tensor(0.4).double())
    return ppca


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    by_name = {claim.name: claim for claim in evidence.claims}
    assert by_name["σ² = mean of the discarded eigenvalues"].left == pytest.approx(2 / 3, abs=1e-9)
    assert by_name["ELBO of the linear VAE = log-likelihood"].left == pytest.approx(-7.526216, abs=5e-7)
    assert by_name["rate E KL(q‖p) = ½ Σ log λ/σ²"].left == pytest.approx(1.445186, abs=5e-7)
    assert evidence.details["posterior_variances"] == [0.333333, 0.166667]


@pytest.mark.parametrize(("eigenvalues", "latents"), [((3.0, 1.0), 1), ((9.0, 7.0, 5.0, 2.0, 1.0, 0.2), 4)])
def test_other_spectra(eigenvalues, latents):
    assert RELATION.check(eigenvalues=eigenvalues, latents=latents).holds


def test_oracle():
    value = spectral_log_likelihood(torch.tensor(problems.SPECTRUM).double(), 2)
    assert value == pytest.approx(problems.ppca_log_likelihood(problems.SPECTRUM, 2), abs=1e-12)
    assert torch.allclose(torch.cov(axis_points(torch.tensor(problems.SPECTRUM)).mT, correction=0).diag(),
                          torch.tensor(problems.SPECTRUM))  # fmt: skip


class WithoutSpread(PPCALinearVAE):
    """Leaves out the posterior variance in the reconstruction term."""

    def elbo(self, vae, x):
        q, w = vae.posterior(x), vae.decoder.layers[-1].weight
        return super().elbo(vae, x) + (q.variance * w.square().sum(0)).sum(-1) / (2 * vae.likelihood.sigma**2)


class WithoutRate(PPCALinearVAE):
    """Forgets the entropy of q in the KL term."""

    def rate(self, vae, x):
        return super().rate(vae, x) + 0.5 * vae.posterior(x).variance.log().sum(-1)


class PriorVariance(PPCALinearVAE):
    """Gives the encoder the prior's variance."""

    def to_vae(self, ppca):
        vae = super().to_vae(ppca)
        with torch.no_grad():
            vae.encoder.layers[-1].bias[vae.latents :].fill_(0.5413)
        return vae


@pytest.mark.parametrize("broken", [WithoutSpread, WithoutRate, PriorVariance])
def test_a_broken_identity_is_seen(broken):
    evidence = broken().check()
    assert not evidence.holds
    assert abs(evidence.gap) > 0.1


def test_conversion_is_exact_whatever_the_rotation():
    ppca = rotated_ppca()
    vae = RELATION.convert(ppca, to="VAE")
    x = ppca.sample(50, seed=0)
    exact = ppca.log_prob(x).value
    assert (RELATION.elbo(vae, x) - exact).abs().max() < 1e-9
    assert torch.allclose(vae.reconstruct(x), ppca.reconstruct(x), atol=1e-9)
    back = RELATION.convert(vae, to="PPCA")
    assert torch.allclose(back.log_prob(x).value, exact, atol=1e-10)


def test_closed_form_elbo_is_the_traced_one():
    """On a linear VAE that is not at its optimum, where the bound is loose."""
    vae = linear_vae(4, 2).double()
    x = torch.randn(3, 4).double()
    closed = RELATION.elbo(vae, x)
    draws = torch.stack([elbo(vae, x, samples=200) for _ in range(50)])
    stderr = draws.std(0) / 50**0.5
    assert ((draws.mean(0) - closed) / stderr).abs().max() < 5


def test_training_a_linear_vae_reaches_ppca():
    x = axis_points(torch.tensor(problems.SPECTRUM).double())
    vae = linear_vae(5, 2).double()
    optimiser = torch.optim.LBFGS(vae.parameters(), max_iter=400, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = -RELATION.elbo(vae, x).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    assert RELATION.elbo(vae, x).mean().item() == pytest.approx(-7.526216, abs=1e-4)
    ppca = PPCA(5, 2).double()
    ppca.solve(x)
    evidence = RELATION.check_programs(ppca, vae, x)
    assert evidence.holds, evidence
    assert evidence.details["smallest_cosine_between_subspaces"] > 0.999


def test_an_untrained_vae_does_not_pass():
    ppca = PPCA(5, 2)
    x = torch.randn(500, 5) * torch.tensor([4.0, 3, 1, 1, 1])
    ppca.solve(x)
    evidence = RELATION.check_programs(ppca, linear_vae(5, 2), x)
    assert not evidence.holds
    assert evidence.claims[0].holds  # its bound lies below its own likelihood nevertheless


@pytest.mark.parametrize(("vae", "why"), [
    (lambda: VAE(4, 2), "affine"),
    (lambda: VAE(4, 2, hidden=(), encoder=MLP(4, 4, hidden=(8,))), "affine"),
    (lambda: VAE(4, 2, hidden=(), prior=PPCA(2, 1)), "prior is N"),
    (lambda: VAE(4, 2, hidden=(), posterior=FullCovariance()), "mean-field"),
    (lambda: VAE(4, 2, hidden=(), likelihood=Gaussian("network")), "one σ"),
    (lambda: VAE(4, 2, hidden=(), context=1), "unconditional"),
    (lambda: PPCA(4, 2), "VAE"),
])  # fmt: skip
def test_refuses_what_is_not_linear(vae, why):
    with pytest.raises(UnsupportedQueryError, match=why):
        RELATION.check_programs(PPCA(4, 2), vae(), torch.zeros(2, 4))


def test_refuses_noise_below_the_floor():
    ppca = PPCA(3, 1)
    ppca.solve(1e-4 * torch.randn(100, 3))
    with pytest.raises(UnsupportedQueryError, match="floor"):
        RELATION.convert(ppca, to="VAE")
