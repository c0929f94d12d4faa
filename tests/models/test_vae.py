"""VAE: wiring, likelihoods, composition; the oracles are PPCA's closed form and quadrature."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pytest
import torch

import unigen as ug
from unigen.errors import ContextError, NoDensityError, ShapeError, SupportError
from unigen.logprob import Kind
from unigen.models.vae import VAE, linear_vae


def test_formula_shapes_and_kind() -> None:
    vae = VAE(6, 2, hidden=(8,))
    assert vae.formula == "p(x, z) = p(x | z) p(z);  q(z | x)"
    for n in (1, 2, 5):
        assert vae.sample(n).shape == (n, 6)
        scored = vae.log_prob(torch.randn(n, 6))
        assert scored.value.shape == (n,) and scored.kind is Kind.LOWER_BOUND and scored.stderr is not None
    z = vae.encode(torch.randn(5, 6))
    assert (
        z.shape == (5, 2)
        and vae.decode(z).shape == (5, 6)
        and vae.reconstruct(torch.randn(5, 6)).shape == (5, 6)
    )
    assert vae.posterior(torch.randn(5, 6)).batch_shape == (5,)


def test_importance_bound_reaches_the_quadrature_of_a_nonlinear_decoder() -> None:
    """One latent: log p(x) = log ∫ p(x | z) N(z; 0, 1) dz on a grid."""
    torch.manual_seed(0)
    vae = VAE(2, 1, hidden=(8,), likelihood=ug.Gaussian(0.7)).double()
    x = torch.randn(4, 2, dtype=torch.float64)
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        loc = vae.decoder(z)
        joint = dist.Normal(loc[:, None], 0.7).to_event(1).log_prob(x) + dist.Normal(0.0, 1.0).log_prob(z)
        exact = torch.logsumexp(joint, 0) + math.log(16 / 4000)
    scored = vae.log_prob(x, density=ug.Importance(20_000))
    assert scored.stderr is not None
    assert ((scored.value - exact).abs() < 6 * scored.stderr).all()
    assert (vae.log_prob(x, density=ug.Importance(1)).value.mean() < exact.mean() + 1.0).all()


@pytest.mark.parametrize(
    ("likelihood", "x"),
    [
        (ug.Bernoulli(), torch.bernoulli(torch.full((20, 4), 0.5))),
        (ug.Categorical(3), torch.randint(0, 3, (20, 4))),
        (ug.Gaussian("network"), torch.randn(20, 4)),
    ],
)
def test_each_likelihood_trains_samples_and_scores(likelihood: torch.nn.Module, x: torch.Tensor) -> None:
    vae = VAE(4, 2, likelihood=likelihood, hidden=(16,))
    record = ug.fit(vae, x, steps=60, lr=1e-2, seed=0)
    curve = [value for _, value in record.history["elbo"]]
    assert sum(curve[-10:]) < sum(curve[:10])
    assert vae.sample(3).shape == (3, 4) and torch.isfinite(vae.log_prob(x).value).all()


def test_data_outside_the_support_is_refused() -> None:
    with pytest.raises(SupportError, match="site 'x'"):
        VAE(3, 1, likelihood=ug.Bernoulli()).log_prob(torch.full((2, 3), 2.0))


def test_a_prior_of_another_length_names_both_parts() -> None:
    with pytest.raises(ShapeError, match=r"prior NSF.*latent"):
        VAE(4, 2, prior=ug.NSF(3))


def test_conditional() -> None:
    vae = VAE(4, 2, hidden=(8,), context=3)
    c = torch.eye(3)
    assert vae.sample(3, c).shape == (3, 4) and vae.log_prob(torch.randn(3, 4), c).value.shape == (3,)
    with pytest.raises(ContextError):
        vae.sample(3)
    with pytest.raises(ContextError):
        vae.log_prob(torch.randn(3, 4), torch.randn(3, 2))


def test_start_of_a_learned_scale_is_that_of_the_data() -> None:
    vae, x = VAE(4, 2), 5.0 * torch.randn(500, 4)
    vae.initialise(x)
    assert vae.likelihood.sigma.item() == pytest.approx(
        (x - x.mean(0)).square().mean().sqrt().item(), rel=1e-4
    )


@pytest.mark.parametrize(
    ("prior", "kind", "formula"),
    [
        (lambda: ug.NSF(2, transforms=1, hidden=(8,)), Kind.LOWER_BOUND, "p_NSF(z)"),
        (lambda: ug.Diffusion(2, hidden=16, blocks=1), Kind.LOWER_BOUND, "p_Diffusion(z)"),
        (lambda: ug.EnergyModel(2), Kind.UNNORMALISED, "p_EnergyModel(z)"),
        (lambda: ug.PPCA(2, 1), Kind.LOWER_BOUND, "p_PPCA(z)"),
    ],
)
def test_a_program_as_prior_is_one_line_and_trains_jointly(prior, kind: Kind, formula: str) -> None:
    torch.manual_seed(0)
    vae = VAE(4, 2, prior=prior(), hidden=(8,))
    before = [p.detach().clone() for p in vae.prior.parameters()]
    ug.fit(vae, torch.randn(40, 4), steps=5, lr=1e-2, seed=0)
    assert any(not torch.equal(a, b) for a, b in zip(before, vae.prior.parameters(), strict=True))
    assert vae.log_prob(torch.randn(3, 4)).kind is kind is vae.kind
    assert vae.sample(3).shape == (3, 4)
    assert formula in vae.formula


def test_a_prior_without_a_density_is_refused_at_construction() -> None:
    with pytest.raises(NoDensityError, match="prior GAN"):
        VAE(4, 2, prior=ug.GAN(2))


def test_linear_vae_is_affine() -> None:
    vae = linear_vae(5, 2)
    z = torch.randn(3, 2)
    a, b = vae.decoder(z), vae.decoder(-z)
    assert torch.allclose((a + b) / 2, vae.decoder(torch.zeros(1, 2)).expand(3, 5), atol=1e-6)


def test_a_prior_on_another_context_is_refused_at_construction():
    prior = ug.NSF(2, context=3, hidden=(4,), transforms=1)
    with pytest.raises(
        ContextError, match=r"VAE: its part NSF .*got NSF with context=3, expected a part without"
    ):
        VAE(4, 2, prior=prior)
    with pytest.raises(ContextError, match=r"got NSF with context=3, expected context=2, that of the whole"):
        VAE(4, 2, prior=prior, context=2)
    vae = VAE(4, 2, prior=prior, context=3)
    assert vae.sample(2, torch.zeros(2, 3)).shape == (2, 4)
