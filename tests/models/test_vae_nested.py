"""A VAE as the prior of a VAE, to any depth: against an explicit Pyro program with the same parameters."""

from __future__ import annotations

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Normal, kl_divergence

import unigen as ug
from tests.programs import traces_with_symbolic_batch
from unigen.logprob import Kind
from unigen.program import Program
from unigen.queries import seeded
from unigen.traces import isolated

F64, CPU = torch.float64, torch.device("cpu")


def nested(depth: int, sigma: float = 0.8) -> ug.VAE:
    """Return a VAE of 3 features whose prior is a VAE whose prior … , with ``depth`` levels of latents."""
    sizes, prior = [3, *[2] * depth], None
    for level in range(depth, 0, -1):
        prior = ug.VAE(
            sizes[level - 1], sizes[level], prior=prior, hidden=(6,), likelihood=ug.Gaussian(sigma)
        )
    assert isinstance(prior, ug.VAE)
    return prior


class Explicit(Program):
    """The same hierarchy, every latent a site of its own: z_depth … z_1 in the model, z_1 … z_depth in the guide."""

    def __init__(self, vae: ug.VAE, sigma: float = 0.8) -> None:
        super().__init__((3,))
        levels = [vae]
        while isinstance(levels[-1].prior, ug.VAE):
            levels.append(levels[-1].prior)
        self.encoders = torch.nn.ModuleList(level.encoder for level in levels)
        self.decoders = torch.nn.ModuleList(level.decoder for level in levels)
        self.sigma = sigma

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        with self.plate(x, n):
            depth = len(self.decoders)
            like = next(self.parameters())
            z = pyro.sample(f"z_{depth}", dist.Normal(like.new_zeros(2), like.new_ones(2)).to_event(1))
            for level in range(depth - 1, 0, -1):
                z = pyro.sample(f"z_{level}", dist.Normal(self.decoders[level](z), self.sigma).to_event(1))
            return pyro.sample("x", dist.Normal(self.decoders[0](z), self.sigma).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with self.plate(x):
            z = x
            for level, encoder in enumerate(self.encoders):
                loc, rho = encoder(z).chunk(2, -1)
                q = dist.Normal(loc, torch.nn.functional.softplus(rho) + 1e-4)
                z = pyro.sample(f"z_{level + 1}", q.to_event(1))


def one_sample(program: Explicit, x: Tensor, depth: int) -> Tensor:
    """Return log p − log q of one draw, the KL of the uppermost level in closed form."""
    with isolated():
        q: Any = poutine.trace(program.guide).get_trace(x)
        p: Any = poutine.trace(poutine.replay(program.model, trace=q)).get_trace(x)
    top = f"z_{depth}"
    total = p.nodes["x"]["fn"].log_prob(x)
    for level in range(1, depth):
        name = f"z_{level}"
        z = q.nodes[name]["value"]
        total = total + p.nodes[name]["fn"].log_prob(z) - q.nodes[name]["fn"].log_prob(z)
    return total - kl_divergence(q.nodes[top]["fn"], p.nodes[top]["fn"])


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_bound_and_its_gradient_are_those_of_the_explicit_program(depth):
    vae = nested(depth).double()
    explicit, x = Explicit(vae), torch.randn(7, 3, dtype=F64)
    loss = ug.ELBO().players(vae)[0].loss
    with seeded(1, CPU):
        ours = loss(x)
    with seeded(1, CPU):
        by_hand = -one_sample(explicit, x, depth).mean()
    torch.testing.assert_close(ours, by_hand, rtol=1e-10, atol=1e-10)
    parameters = list(vae.parameters())
    for a, b in zip(
        torch.autograd.grad(ours, parameters), torch.autograd.grad(by_hand, parameters), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("depth", [2, 4])
def test_draws_have_the_moments_of_the_explicit_program(depth):
    vae = nested(depth)
    one, two = vae.sample(8000, seed=0), Explicit(vae).sample(8000, seed=1)
    z = (one.mean(0) - two.mean(0)) / ((one.var(0) + two.var(0)) / 8000).sqrt()
    assert z.abs().max() < 5


@pytest.mark.parametrize("depth", [2, 4])
def test_it_trains_as_one_graph_and_comes_back(depth, tmp_path):
    vae, x = nested(depth), torch.randn(60, 3) @ torch.randn(3, 3)
    assert traces_with_symbolic_batch(vae, ug.ELBO(), x[:6])
    curve = [v for _, v in ug.fit(vae, x, steps=60, lr=1e-2, seed=0).history["elbo"]]
    assert sum(curve[-10:]) < sum(curve[:10])
    again = ug.load(ug.save(vae, tmp_path / "nested"))
    assert torch.equal(again.sample(3, seed=0), vae.sample(3, seed=0))


def exact(vae: ug.VAE, x: Tensor) -> Tensor:
    """Return log p(x) of two levels of one latent each, by quadrature."""
    grid, inner = torch.linspace(-9, 9, 601, dtype=F64)[:, None], vae.prior
    with torch.no_grad():
        p_1 = Normal(inner.decoder(grid), 0.7).log_prob(grid.mT) + Normal(0.0, 1.0).log_prob(grid)
        p_x = Normal(vae.decoder(grid)[:, None], 0.7).log_prob(x).sum(-1)
        return (p_x + p_1.logsumexp(0)[:, None]).logsumexp(0) + 2 * math.log(18 / 600)


def test_every_bound_through_nesting_lies_below_the_evidence():
    half = ug.VAE(1, 1, hidden=(6,), likelihood=ug.Gaussian(0.7))
    vae = ug.VAE(2, 1, prior=half, hidden=(6,), likelihood=ug.Gaussian(0.7)).double()
    x = torch.randn(4, 2, dtype=F64)
    evidence = exact(vae, x)
    bound = vae.log_prob(x)
    assert bound.kind is Kind.LOWER_BOUND and bound.stderr is not None
    assert (bound.value < evidence + 5 * bound.stderr).all()
    for objective in (ug.ELBO(), ug.IWAE(20)):
        loss = objective.players(vae)[0].loss
        with torch.no_grad():
            draws = torch.stack([-loss(x) for _ in range(200)])
        assert draws.mean() < evidence.mean() + 5 * draws.std() / math.sqrt(200)
