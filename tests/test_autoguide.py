"""The automatic guide: right supports, shapes and gradients, and the posterior where it is in its family."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import nn

from tests.programs import SharedMean, Toy
from unigen.errors import SiteError
from unigen.program import Program
from unigen.traces import draw, is_local


class Supports(Program):
    """One latent on each support that has a bijection from the reals, x a function of all."""

    def model(self, x=None, n=1):
        rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
        with self.plate(x, n):
            w = pyro.sample("w", dist.Dirichlet(torch.ones(3)))
            s = pyro.sample("s", dist.LogNormal(torch.zeros(2), 1.0).to_event(1))
            u = pyro.sample("u", dist.Uniform(-1.0, 2.0))
            loc = torch.stack([w[..., 0] + u, s.sum(-1) * rate], -1)
            return pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)


class Automatic(Toy):
    """The toy without its guide."""

    guide = Program.guide


class Coin(Program):
    def model(self, x=None, n=1):
        with self.plate(x, n):
            z = pyro.sample("z", dist.Bernoulli(0.5))
            return pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def test_every_support_is_met_and_every_parameter_trained():
    program = Supports()
    x = torch.randn(5, 2)
    nodes = draw(lambda: program.guide(x, None, 5))
    shapes = {name: tuple(node["value"].shape) for name, node in nodes.items()}
    assert shapes == {"rate": (), "w": (5, 3), "s": (5, 2), "u": (5,)}
    for site in program.structure.latents:
        assert bool(site.support.check(nodes[site.name]["value"]).all()), site.name
        assert is_local(nodes[site.name]) is (site.name != "rate")
    program.surrogate(x).sum().backward()
    missing = [name for name, p in program.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not missing


def test_density_on_a_simplex_is_that_of_the_pushed_normal():
    """log q(w) = log N(u; m, s) − log |dw/du|, the Jacobian by autograd."""
    program, x = Supports(), torch.randn(1, 2)
    fn = draw(lambda: program.guide(x, None, 1))["w"]["fn"]
    transform, base = fn.transforms[0], fn.base_dist
    u = torch.randn(1, 2)
    jacobian = torch.autograd.functional.jacobian(lambda v: transform(v)[0, :2], u)[:, 0]
    expected = base.log_prob(u) - torch.linalg.slogdet(jacobian).logabsdet
    assert fn.log_prob(transform(u)).item() == pytest.approx(expected.item(), abs=1e-5)


def test_it_learns_the_exact_posterior_of_the_toy():
    """q(z | x) = N(x/2, 1/2) lies in the family."""
    torch.manual_seed(0)
    program = Automatic().float()
    assert isinstance(program.automatic_guide, nn.Module)
    optimizer = torch.optim.Adam(program.parameters(), lr=1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        (-program.surrogate(2**0.5 * torch.randn(256, 1)).mean()).backward()
        optimizer.step()
    x = torch.linspace(-2, 2, 9)[:, None]
    q = program.posterior(x)
    assert (q.mean - x / 2).abs().max() < 0.12
    assert (q.stddev - 0.5**0.5).abs().max() < 0.12


def test_discrete_latents_are_refused_and_own_guides_left_alone():
    with pytest.raises(SiteError, match="discrete"):
        Coin()
    assert "automatic_guide" not in Toy()._modules
    shared = SharedMean().automatic_guide
    assert list(shared.loc) == ["theta"] and shared.loc["theta"].shape == (1,)
