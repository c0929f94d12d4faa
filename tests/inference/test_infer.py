"""Draws of latents against conjugate posteriors; each chain is a replicate, so standard errors need no ESS."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch

import unigen as ug
from unigen.errors import ArgumentError, DivergedError, SiteError
from unigen.inference.infer import infer
from unigen.inference.kernels import traced
from unigen.inference.markov import NUTS
from unigen.inference.unconstrained import Unconstrained


class Rate(ug.Program):
    """λ ~ Gamma(2, 1), x ~ Poisson(λ): λ | x ~ Gamma(2 + Σx, 1 + N)."""

    def __init__(self):
        super().__init__((1,))

    def model(self, x=None, n=1):
        rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
        with self.plate(x, n):
            return pyro.sample("x", dist.Poisson(rate.reshape(1)).to_event(1), obs=x)


class Noise(ug.Program):
    """z ~ N(0, 1), x ~ N(z, ½): z_i | x_i ~ N(⅘ x_i, ⅕), a latent of each example."""

    def __init__(self, scale=0.5):
        super().__init__((1,))
        self.scale = scale

    def model(self, x=None, n=1):
        with self.plate(x, n):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z, self.scale).to_event(1), obs=x)


def check_moments(draws, mean, variance):
    """Compare the moments of (chains, draws) with the truth; standard errors over chains, |z| ≤ 5."""
    for each, truth in ((draws.mean(1), mean), ((draws - mean).square().mean(1), variance)):
        z = (each.mean(0) - truth) / (each.std(0) / each.shape[0] ** 0.5)
        assert z.abs().max() < 5, z


def test_a_positive_latent_has_its_conjugate_posterior():
    x = torch.poisson(torch.full((10, 1), 3.0))
    engine = NUTS(chains=60, draws=40, warmup=80, compile=False)
    draws = infer(Rate().double(), x, engine=engine, seed=int(torch.randint(9999, ())))
    posterior = dist.Gamma(2.0 + x.sum().double(), 11.0)
    check_moments(draws["rate"], posterior.mean, posterior.variance)
    assert draws["rate"].shape == (60, 40) and not bool(draws.statistics["diverging"].any())


def test_latents_of_examples_have_their_posteriors():
    x = torch.randn(3, 1)
    engine = NUTS(chains=60, draws=40, warmup=80, compile=False)
    draws = infer(Noise().double(), x, engine=engine, seed=int(torch.randint(9999, ())))
    check_moments(draws["z"], 0.8 * x.double(), torch.full((3, 1), 0.2).double())


def test_first_chains_do_not_depend_on_how_many_follow():
    x = torch.randn(3, 1)
    many, few = (
        infer(Noise().double(), x, engine=NUTS(chains=c, draws=5, warmup=20, compile=False), seed=4)
        for c in (5, 2)
    )
    torch.testing.assert_close(many["z"][:2], few["z"], atol=0, rtol=0)


def test_a_seed_reproduces_and_leaves_the_global_state():
    program, engine = Noise().double(), NUTS(chains=2, draws=4, warmup=4, compile=False)
    state = torch.get_rng_state()
    a, b = (infer(program, torch.ones(2, 1), engine=engine, seed=1)["z"] for _ in range(2))
    assert torch.equal(a, b) and torch.equal(state, torch.get_rng_state())


def test_the_traced_density_is_the_eager_one():
    program = ug.bayesian(ug.PPCA(features=3, latents=1).double(), {"weight": dist.Normal(0.0, 1.0)})
    space = Unconstrained(program, torch.randn(7, 3).double(), None)
    u = torch.randn(4, space.dims).double()
    density = space.potential
    graph = traced(density, [torch.zeros_like(u)])
    assert graph is not density
    for ours, theirs in zip(space.potential(u), graph(u), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    point = u[0].clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(space.potential_of(point, space.x), point)
    torch.testing.assert_close(space.potential(u)[1][0], gradient, atol=1e-10, rtol=0)


def test_what_cannot_be_drawn_is_refused():
    for engine in ("NUTS", NUTS):
        with pytest.raises(ArgumentError, match=r"ug\.NUTS\(\)"):
            infer(Noise(), torch.ones(2, 1), engine=engine)
    with pytest.raises(SiteError, match="nothing latent"):
        infer(ug.NSF(features=2, transforms=1, hidden=(4,)), torch.randn(3, 2))
    with pytest.raises(SiteError, match="discrete"):
        infer(ug.GaussianMixture(features=2, components=2), torch.randn(3, 2))
    with pytest.raises(ArgumentError, match="draws"):
        NUTS(draws=0)
    with pytest.raises(DivergedError, match="50 trials"):
        infer(Noise(1e-30), torch.ones(2, 1) * 1e30, engine=NUTS(chains=1, draws=1, warmup=0, compile=False))
