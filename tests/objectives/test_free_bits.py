"""Free bits against hand computation."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from tests.programs import SharedMean, Switch, Toy
from unigen.errors import ArgumentError, SiteError
from unigen.models.vae import VAE
from unigen.objectives.elbo import ELBO
from unigen.objectives.free_bits import FreeBits
from unigen.objectives.objective import Objective


def value(program, objective: Objective, x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(3)
    return objective.players(program)[0].loss(x)


def by_hand(vae: VAE, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The reconstruction term of the same draws, and KL (N, L)."""
    reconstruction = -value(vae, ELBO(beta=0.0), x)
    q = vae.posterior(x).base_dist
    return reconstruction, kl_divergence(q, Normal(torch.zeros_like(q.loc), 1.0))


def vae() -> VAE:
    """A VAE whose latents carry different amounts."""
    made = VAE(3, 4, hidden=(8,))
    with torch.no_grad():
        made.encoder.get_parameter("layers.2.bias").copy_(
            torch.tensor([2.0, 0.5, 0.1, 1.0, 0.5, 0.5, 0.5, 0.5])
        )
    return made


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize("nats", [0.0, 0.3, 0.8, 50.0])
def test_each_entry(nats, beta):
    program, x = vae(), torch.randn(6, 3)
    reconstruction, kl = by_hand(program, x)
    expected = -(reconstruction - beta * kl.mean(0).clamp_min(nats).sum())
    found = value(program, ELBO(beta=beta, free_bits=nats), x)
    assert torch.allclose(found, expected, rtol=1e-5)


def test_groups():
    program, x = vae(), torch.randn(6, 3)
    reconstruction, kl = by_hand(program, x)
    for groups in (1, 2, 4):
        per = kl.mean(0).unflatten(0, (groups, -1)).sum(1)
        nats = per.sort().values[groups // 2].item()  # some are paid, some are free
        expected = -(reconstruction - per.clamp_min(nats * 1.01).sum())
        found = value(program, ELBO(free_bits=FreeBits(nats * 1.01, groups)), x)
        assert torch.allclose(found, expected, rtol=1e-5), groups


def test_the_gradient_leaves_free_entries_alone():
    program, x = vae(), torch.randn(6, 3)
    _, kl = by_hand(program, x)
    nats = kl.mean(0).median().item() * 1.01
    reconstruction = -value(program, ELBO(beta=0.0), x)
    parameters = list(program.encoder.parameters())
    found = torch.autograd.grad(value(program, ELBO(free_bits=nats), x), parameters)
    raw = program.encoder(x)
    loc, scale = raw[:, :4], torch.nn.functional.softplus(raw[:, 4:]) + 1e-4
    again = kl_divergence(Normal(loc, scale), Normal(0.0, 1.0)).mean(0)
    expected = torch.autograd.grad(again.clamp_min(nats).sum() - reconstruction, parameters)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_sampled_terms_and_particles():
    """Without the closed form the terms are log q − log p of the draws, averaged over particles and examples."""
    program, x = Toy().double(), torch.full((5, 1), 0.7, dtype=torch.float64)
    program.guide = _offset.__get__(program)
    for nats in (0.0, 0.01, 10.0):
        torch.manual_seed(3)
        eps = torch.randn(3, 5, 1, dtype=torch.float64)
        q, p = Normal(x + 1.0, torch.full_like(x, 0.6)), Normal(torch.zeros_like(x), 1.0)
        z = q.loc + q.scale * eps
        rate = (q.log_prob(z) - p.log_prob(z)).mean()
        distortion = -Normal(z, 1.0).log_prob(x).mean()
        found = value(program, ELBO(3, analytic=False, free_bits=nats), x)
        assert torch.allclose(found, distortion + rate.clamp_min(nats), rtol=1e-10)


def _offset(self, x, context=None, n=1):
    import pyro

    with self.plate(x):
        return pyro.sample("z", pyro.distributions.Normal(x + 1.0, torch.full_like(x, 0.6)).to_event(1))


def test_enumerated_latents():
    program, x = Switch(), torch.tensor([[-0.5], [1.2], [0.1]])
    q = torch.distributions.Categorical(logits=program.logits[0] + x * program.logits[1])
    kl = kl_divergence(q, torch.distributions.Categorical(logits=program.prior)).mean()
    recon = (q.probs * Normal(program.means, 1.0).log_prob(x)).sum(-1).mean()
    for nats in (0.01, 2.0):
        found = value(program, ELBO(enumerate=True, free_bits=nats), x)
        assert torch.allclose(found, kl.clamp_min(nats) - recon, rtol=1e-5)


def test_a_latent_outside_the_plate_pays_in_full():
    program, x = SharedMean(), torch.randn(6, 1)
    free, plain = value(program, ELBO(free_bits=100.0), x), value(program, ELBO(), x)
    z_alone = value(program, ELBO(beta=0.0), x)  # the shared site has weight one in every case
    assert torch.allclose(free - z_alone, torch.tensor(100.0), rtol=1e-5)
    assert bool(plain < free)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ELBO(free_bits=-0.1), lambda: ELBO(free_bits=math.inf), lambda: ELBO(free_bits=math.nan),
        lambda: ELBO(free_bits="two"), lambda: FreeBits(0.5, groups=0), lambda: FreeBits(0.5, groups=1.5),
    ],
)  # fmt: skip
def test_refuses(make):
    with pytest.raises(ArgumentError):
        make()


def test_refuses_groups_of_different_sizes():
    loss = ELBO(free_bits=FreeBits(0.5, groups=3)).players(VAE(3, 4, hidden=(8,)))[0].loss
    with pytest.raises(SiteError, match="4 entries"):
        loss(torch.randn(5, 3))
