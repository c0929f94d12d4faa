"""Latents on the reals: the mass of exp(−U) is the evidence, by quadrature; slopes, curvature, layout, refusals."""

from __future__ import annotations

import math

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor

import unigen as ug
from benchmarks.conjugate import Coin, Mean, Rate, Regression, simulated
from unigen.errors import SiteError
from unigen.inference.unconstrained import Unconstrained
from unigen.program import Program

F64 = torch.float64


class Die(Program):
    """θ ~ Dirichlet(1, 2, 3), x_i ~ Categorical(θ): a simplex, of one dimension less than its entries."""

    def __init__(self) -> None:
        super().__init__((1,))
        self.register_buffer("counts", torch.tensor([1.0, 2.0, 3.0]))

    def model(self, x=None, n=1):
        theta = pyro.sample("theta", dist.Dirichlet(self.counts))
        with self.plate(x, n):
            return pyro.sample("x", dist.Categorical(theta.expand(1, 3)).to_event(1), obs=x)


class Pair(Program):
    """A positive scale outside the plate, two reals a row inside: sites of several shapes side by side."""

    def model(self, x=None, n=1):
        s = pyro.sample("s", dist.LogNormal(torch.zeros((), dtype=F64), 1.0))
        with self.plate(x, n):
            z = pyro.sample("z", dist.Normal(torch.zeros(2, dtype=F64), s).to_event(1))
            return pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True), 1.0).to_event(1), obs=x)


@pytest.mark.parametrize("family", [Mean, Coin, Rate], ids=lambda family: family.__name__)
def test_the_mass_on_the_reals_is_the_evidence(family):
    program = family().double()
    (x,) = simulated(program, 4)
    space = Unconstrained(program, x, None)
    u = torch.linspace(-25, 25, 1001, dtype=F64)[:, None]
    log_mass = (-space.potential(u)[0]).logsumexp(0) + math.log(float(u[1, 0] - u[0, 0]))
    assert float(log_mass) == pytest.approx(program.exact(x).evidence, abs=1e-6)


def test_the_mass_over_a_simplex_is_the_evidence():
    program, x = Die().double(), torch.tensor([[0], [2], [2], [1], [2]])
    space = Unconstrained(program, x, None)
    assert space.dims == 2
    axis = torch.linspace(-14, 14, 141, dtype=F64)
    u = torch.cartesian_prod(axis, axis)
    found = float((-space.potential(u)[0]).logsumexp(0)) + 2 * math.log(float(axis[1] - axis[0]))
    prior, counts = program.counts, torch.tensor([1.0, 1.0, 3.0], dtype=F64)

    def log_beta(a: Tensor) -> float:
        return float(torch.lgamma(a).sum() - torch.lgamma(a.sum()))

    assert found == pytest.approx(log_beta(prior + counts) - log_beta(prior), abs=1e-4)
    theta = space.values(u[:5])["theta"]
    torch.testing.assert_close(theta.sum(-1), torch.ones(5, dtype=F64))


def test_a_positive_latent_has_the_potential_of_its_logarithm():
    """U(u) = −log p(x, e^u) − u for the rate: Gamma and Poisson terms by hand, its slope and its curvature."""
    program = Rate().double()
    (x,) = simulated(program, 6)
    space, u = Unconstrained(program, x, None), torch.randn(5, 1, dtype=F64)
    a, b, rate = 2 + float(x.sum()), 7.0, u[:, 0].exp()
    constant = float(torch.lgamma(x + 1).sum())  # log Γ(2) = 0
    value, gradient = space.potential(u)
    torch.testing.assert_close(value, b * rate - a * u[:, 0] + constant)
    torch.testing.assert_close(gradient[:, 0], b * rate - a)
    torch.testing.assert_close(space.hessian(u)[:, 0, 0], b * rate)
    torch.testing.assert_close(space.values(u)["rate"], rate)


def test_a_regressions_curvature_is_its_posterior_precision():
    program = Regression().double()
    x, context = simulated(program, 8)
    mean, covariance = program.moments(x, context)
    space = Unconstrained(program, x, context)
    u = torch.randn(2, 3, dtype=F64)
    precision = torch.linalg.inv(covariance)
    torch.testing.assert_close(space.hessian(u), precision.expand(2, 3, 3))
    torch.testing.assert_close(space.potential(u)[1], (u - mean) @ precision)


def test_sites_lie_side_by_side():
    x = torch.randn(3, 1, dtype=F64)
    space = Unconstrained(Pair(), x, None)
    assert list(space.layout) == ["s", "z"] and space.dims == 1 + 3 * 2
    assert space.like(4).shape == (4, 7)
    u = torch.randn(2, 5, 7, dtype=F64)
    values = space.values(u)
    torch.testing.assert_close(values["s"], u[..., 0].exp())
    torch.testing.assert_close(values["z"], u[..., 1:].reshape(2, 5, 3, 2))
    s, z = u[0, 0, 0].exp(), values["z"][0, 0]
    by_hand = -(
        dist.LogNormal(0 * s, 1.0).log_prob(s) + dist.Normal(0 * z, s).log_prob(z).sum()
        + dist.Normal(z.sum(-1, keepdim=True), 1.0).log_prob(x).sum() + u[0, 0, 0]
    )  # fmt: skip
    torch.testing.assert_close(space.potential_of(u[0, 0], x), by_hand)


def test_each_chain_may_have_data_of_its_own_and_many_points():
    program = Mean().double()
    x, u = torch.randn(3, 4, 1, dtype=F64), torch.randn(3, 5, 1, dtype=F64)
    both = Unconstrained(program, x, None, each=True)
    value, gradient = both.potential(u)
    assert value.shape == (3, 5) and gradient.shape == (3, 5, 1)
    for c in range(3):
        alone = Unconstrained(program, x[c], None)
        torch.testing.assert_close(alone.potential(u[c]), (value[c], gradient[c]))
    torch.testing.assert_close(both.potential(u[:, 0])[0], value[:, 0])
    torch.testing.assert_close(both.hessian(u[:, 0])[:, 0, 0], torch.full((3,), 1 / 4 + 4 / 2.25, dtype=F64))


def test_laying_out_draws_nothing_from_the_callers_generator():
    before = torch.get_rng_state()
    Unconstrained(Mean(), torch.zeros(2, 1), None)
    assert torch.equal(before, torch.get_rng_state())


def test_what_has_no_place_on_the_reals_is_refused():
    with pytest.raises(SiteError, match=r"discrete latent.*marginal\(\)"):
        Unconstrained(ug.GaussianMixture(features=2, components=2), torch.randn(3, 2), None)
    with pytest.raises(SiteError, match=r"nothing latent.*bayesian"):
        Unconstrained(ug.NSF(features=2, transforms=1, hidden=(4,)), torch.randn(3, 2), None)
