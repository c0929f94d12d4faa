"""VAE: posteriors, priors and decoders of other kinds; the oracles are exact posteriors and quadrature."""

from __future__ import annotations

import math

import pytest
import torch

import unigen as ug
from unigen.distributions.posteriors import FLOOR
from unigen.distributions.standard import as_distribution
from unigen.models.vae import VAE

F64 = torch.float64
TINY = {"transforms": 1, "hidden": (6,)}


class ExactMixture(torch.nn.Module):
    """The numbers of p(z | x) for z ~ Σ_k π_k N(μ_k, s_k²) and x | z ~ N(wz + b, σ²I), z a scalar."""

    def __init__(self, prior: ug.GaussianMixture, w: torch.Tensor, b: torch.Tensor, sigma: float) -> None:
        super().__init__()
        self.pi, self.mu, self.s = prior.logits.softmax(0), prior.means[:, 0], prior.log_scales[:, 0].exp()
        self.w, self.b, self.sigma = w, b, sigma

    def marginals(self) -> torch.distributions.MultivariateNormal:
        """p(x | k), batch shape (K,)."""
        cov = self.s.square()[:, None, None] * torch.outer(self.w, self.w) + self.sigma**2 * torch.eye(
            len(self.w), dtype=F64
        )
        return torch.distributions.MultivariateNormal(self.mu[:, None] * self.w + self.b, cov)

    def log_marginal(self, x: torch.Tensor) -> torch.Tensor:
        return torch.logsumexp(self.marginals().log_prob(x[:, None]) + self.pi.log(), -1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.marginals().log_prob(x[:, None]) + self.pi.log()
        precision = self.s.pow(-2) + self.w.square().sum() / self.sigma**2
        projected = ((x - self.b) @ self.w / self.sigma**2)[:, None]
        loc = (self.mu / self.s.square() + projected) / precision
        scale = precision.rsqrt().expand(loc.shape)
        numbers = torch.stack((loc, torch.log(torch.expm1(scale - FLOOR))), -1)
        return torch.cat((logits, numbers.flatten(1)), -1)


def linear_decoder(vae: VAE) -> tuple[torch.Tensor, torch.Tensor]:
    layer = vae.decoder.layers[-1]
    return layer.weight.detach(), layer.bias.detach()


def test_with_the_exact_full_covariance_every_single_draw_gives_log_p() -> None:
    """p(z | x) = N(m(x), (I + WᵀW/σ²)⁻¹): log p(x, z) − log q(z | x) = log p(x) for every z."""
    sigma, vae = (
        0.6,
        VAE(4, 3, posterior=ug.FullCovariance(), likelihood=ug.Gaussian(0.6), hidden=()).double(),
    )
    w, b = linear_decoder(vae)
    precision = torch.eye(3, dtype=F64) + w.mT @ w / sigma**2
    factor = torch.linalg.cholesky(torch.linalg.inv(precision))
    to_z = torch.linalg.solve(precision, w.mT) / sigma**2
    layer = vae.encoder.layers[-1]
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[:3] = to_z
        layer.bias[:3] = -to_z @ b
        layer.bias[3:6] = torch.log(torch.expm1(factor.diagonal() - FLOOR))
        layer.bias[6:] = factor[[1, 2, 2], [0, 0, 1]]
    x = torch.randn(5, 4, dtype=F64)
    covariance = w @ w.mT + sigma**2 * torch.eye(4, dtype=F64)
    exact = torch.distributions.MultivariateNormal(b, covariance).log_prob(x)
    for k in (1, 7):
        scored = vae.log_prob(x, density=ug.Importance(k))
        torch.testing.assert_close(scored.value, exact, rtol=0, atol=1e-9)
    bound = ug.ELBO().players(vae)[0].loss(x)  # its divergence from N(0, I) in closed form: one draw is noisy
    assert bound.isfinite()
    kl = torch.distributions.kl_divergence(vae.posterior(x), vae.prior())
    m, s = vae.posterior(x).mean, vae.posterior(x).covariance_matrix
    residual = (x - m @ w.mT - b).square().sum(-1) + (w.mT @ w * s).sum((-2, -1))
    analytic = -residual / (2 * sigma**2) - 2 * math.log(2 * math.pi * sigma**2) - kl
    torch.testing.assert_close(analytic, exact, rtol=0, atol=1e-9)


def test_with_the_exact_mixture_posterior_every_single_draw_gives_the_mixture_marginal() -> None:
    prior = ug.GaussianMixture(1, components=3, covariance="diagonal").double()
    with torch.no_grad():
        prior.logits.normal_()
        prior.log_scales.normal_(-0.5, 0.3)
    b, w = torch.randn(4, dtype=F64), torch.randn(4, 1, dtype=F64)
    encoder = ExactMixture(prior, w[:, 0], b, 0.8)
    vae = VAE(
        4,
        1,
        prior=prior,
        posterior=ug.MixturePosterior(3),
        encoder=encoder,
        likelihood=ug.Gaussian(0.8),
        hidden=(),
    ).double()
    with torch.no_grad():
        vae.decoder.layers[-1].weight.copy_(w)
        vae.decoder.layers[-1].bias.copy_(b)
    x = 2 * torch.randn(6, 4, dtype=F64)
    with torch.no_grad():
        exact = encoder.log_marginal(x)
    for k in (1, 5):
        scored = vae.log_prob(x, density=ug.Importance(k))
        torch.testing.assert_close(scored.value, exact, rtol=0, atol=1e-9)


def one_latent(**parts: object) -> VAE:
    parts = {"likelihood": ug.Gaussian(0.7)} | parts if "decoder" not in parts else parts
    return VAE(2, 1, hidden=(6,), **parts).double()


QUADRATURE = {
    "flow posterior": lambda: one_latent(posterior=ug.IAF(1, context=3, **TINY)),
    "flow of x": lambda: one_latent(encoder=ug.NSF(1, context=2, bins=4, **TINY)),
    "mixture posterior": lambda: one_latent(posterior=ug.MixturePosterior(3)),
    "full covariance": lambda: one_latent(posterior=ug.FullCovariance()),
    "flow prior": lambda: one_latent(prior=ug.NSF(1, bins=4, **TINY)),
    "mixture prior": lambda: one_latent(prior=ug.GaussianMixture(1, components=3)),
    "autoregressive prior": lambda: one_latent(prior=ug.MADE(1, hidden=(4,))),
    "Vamp prior": lambda: one_latent(prior=ug.VampPrior(components=3)),
    "flow decoder": lambda: one_latent(decoder=ug.NSF(2, context=1, bins=4, **TINY)),
    "autoregressive decoder": lambda: one_latent(decoder=ug.MADE(2, context=1, hidden=(6,))),
    "decoder network into a flow": lambda: one_latent(likelihood=ug.RealNVP(2, context=3, **TINY)),
}


@pytest.mark.parametrize("name", QUADRATURE)
def test_bounds_lie_under_the_quadrature_of_log_p_and_tend_to_it(name: str) -> None:
    vae, x = QUADRATURE[name](), torch.randn(4, 2, dtype=F64)
    z = torch.linspace(-15, 15, 6001, dtype=F64)[:, None]
    prior = as_distribution(vae.prior)
    with torch.no_grad():
        joint = vae.conditional(z[:, None]).log_prob(x) + prior.log_prob(z)[:, None]
        exact = torch.logsumexp(joint, 0) + math.log(30 / 6000)
        mass = torch.logsumexp(prior.log_prob(z), 0) + math.log(30 / 6000)
    assert abs(float(mass)) < 1e-3
    several = torch.stack([vae.log_prob(x, density=ug.Importance(5)).value for _ in range(200)])
    assert ((several.mean(0) - exact) / (several.std(0) / 200**0.5)).max() < 4
    many = vae.log_prob(x, density=ug.Importance(20_000))
    assert many.stderr is not None and ((many.value - exact).abs() < 5 * many.stderr + 1e-3).all()


def test_images_are_flattened_for_perceptrons_and_programs_only() -> None:
    x = torch.bernoulli(torch.full((6, 1, 3, 4), 0.5))

    class Convolution(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Conv2d(1, 4, (3, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x).flatten(1)

    image = (1, 3, 4)
    decoder = ug.PixelCNN(image, likelihood=ug.Bernoulli(), context=2, width=4, layers=2)
    for vae in (
        VAE(image, 2, likelihood=ug.Bernoulli(), hidden=(4,)),
        VAE(image, 2, likelihood=ug.Bernoulli(), hidden=(4,), encoder=Convolution()),
        VAE(image, 2, likelihood=ug.Bernoulli(), hidden=(4,), encoder=ug.IAF(2, context=12, **TINY)),
        VAE(image, 2, decoder=decoder, hidden=(4,)),
    ):
        ug.ELBO(samples=2).players(vae)[0].loss(x).backward()
        assert vae.sample(3).shape == (3, *image) and vae.log_prob(x).value.shape == (6,)
        assert vae.reconstruct(x).shape == x.shape


def test_a_categorical_perceptron_reads_one_hot_classes() -> None:
    vae = VAE(4, 2, likelihood=ug.Categorical(3), hidden=(8,))
    assert vae.encoder.in_features == 12
    x = torch.tensor([[0.0, 1.0, 2.0, 0.0]])
    assert vae.codes(x).reshape(4, 3).argmax(1).tolist() == [0, 1, 2, 0]


def test_a_decoder_that_is_a_program_starts_at_the_data() -> None:
    x = 5 + 2 * torch.randn(400, 3)
    vae = VAE(3, 2, decoder=ug.NSF(3, context=2, **TINY), hidden=(8,))
    vae.initialise(x)
    with torch.no_grad():
        found = vae.conditional(vae.posterior_of(x).sample()).log_prob(x).mean().item()
    normal = -3 * (0.5 * math.log(2 * math.pi * math.e) + math.log(2.0))
    assert found == pytest.approx(normal, abs=0.5)  # and −47 before


GAPS = {
    "mean-field": (lambda: ug.MeanField(), 1.0),
    "full covariance": (lambda: ug.FullCovariance(), 0.0),
    "flow": (lambda: ug.IAF(2, context=5, transforms=1, hidden=()), 0.0),
    "mixture": (lambda: ug.MixturePosterior(3), None),  # between the two
}


@pytest.mark.parametrize("name", GAPS)
def test_the_gap_of_each_posterior_after_training_is_what_its_family_leaves(name: str) -> None:
    """Under a linear decoder p(z | x) = N(m, P⁻¹): the best mean field lies ½ (Σ log P_ii − log det P) below."""
    part, share = GAPS[name]
    vae = VAE(3, 2, posterior=part(), likelihood=ug.Gaussian(0.5), hidden=())
    w, b = torch.tensor([[1.0, 0.8], [0.6, 0.9], [0.3, -0.2]]), torch.zeros(3)
    with torch.no_grad():
        vae.decoder.layers[-1].weight.copy_(w)
        vae.decoder.layers[-1].bias.copy_(b)
    vae.decoder.requires_grad_(False)
    precision = torch.eye(2) + w.mT @ w / 0.25
    mean_field = 0.5 * (precision.diagonal().log().sum() - precision.logdet())
    p = torch.distributions.MultivariateNormal(b, w @ w.mT + 0.25 * torch.eye(3))
    x = p.sample((512,))
    ug.fit(vae, x, steps=400, lr=0.03, objective=ug.ELBO(samples=4), seed=0, compile=False)
    bound = torch.stack([vae.log_prob(x, density=ug.Importance(1)).value for _ in range(100)])
    gap, error = (p.log_prob(x) - bound).mean(), bound.mean(1).std() / 10
    if share is None:
        assert -5 * error < gap < 0.5 * mean_field
    else:
        assert abs(gap - share * mean_field) < 0.05 + 5 * error
