"""Densities of the observed entries against the same entries alone, for every kind of support."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch.distributions import constraints

from tests.programs import traces_with_symbolic_batch
from unigen.distributions.likelihoods import Bernoulli, Gaussian
from unigen.distributions.missing import ObservedPart, WithMissing, entries
from unigen.distributions.mixture_likelihood import MixtureOfGaussians
from unigen.errors import ArgumentError, DTypeError, NonFiniteError, SupportError
from unigen.objectives.elbo import ELBO
from unigen.program import Program

FAMILIES = {
    "normal": lambda: dist.Normal(torch.randn(4), torch.rand(4) + 0.1),
    "bernoulli": lambda: dist.Bernoulli(logits=torch.randn(4)),
    "categorical": lambda: dist.Categorical(logits=torch.randn(4, 3)),
    "gamma": lambda: dist.Gamma(torch.rand(4) + 0.5, torch.rand(4) + 0.5),
    "beta": lambda: dist.Beta(torch.rand(4) + 0.5, torch.rand(4) + 0.5),
    "uniform": lambda: dist.Uniform(torch.full((4,), 2.0), torch.full((4,), 3.0)),
    "poisson": lambda: dist.Poisson(torch.rand(4) + 0.5),
    "integers from 2": lambda: dist.Delta(torch.full((4,), 2.0)),
    "mixture": lambda: MixtureOfGaussians(2)(torch.randn(24), (4,)).base_dist,
}


@pytest.mark.parametrize("name", FAMILIES)
def test_observed_entries_count_and_no_others(name):
    scalars = FAMILIES[name]()
    p = WithMissing(scalars.to_event(1))
    x = scalars.sample((7,)).float()
    hidden = torch.rand(7, 4) < 0.4
    hidden[0], hidden[1] = True, False
    given = torch.where(hidden, torch.nan, x)
    alone = torch.where(hidden, torch.zeros(()), scalars.log_prob(x)).sum(1)
    assert p.event_shape == (4,) and p.batch_shape == ()
    assert torch.allclose(p.log_prob(given), alone, atol=1e-6)
    assert p.log_prob(given)[0] == 0
    assert torch.equal(p.log_prob(x), scalars.to_event(1).log_prob(x))
    assert p.support.check(given).all() and p.support.is_discrete == scalars.support.is_discrete


def test_gradients_are_those_of_the_observed_entries():
    loc, scale = torch.randn(3, requires_grad=True), torch.rand(3).requires_grad_(True)
    x = torch.tensor([[0.5, torch.nan, 1.0], [torch.nan] * 3])
    grads = torch.autograd.grad(
        WithMissing(dist.Normal(loc, scale).to_event(1)).log_prob(x).sum(), [loc, scale]
    )
    seen = [0, 2]
    truth = torch.autograd.grad(dist.Normal(loc[seen], scale[seen]).log_prob(x[0, seen]).sum(), [loc, scale])
    for a, b in zip(grads, truth, strict=True):
        assert torch.allclose(a, b)


def test_it_is_the_base_otherwise():
    base = dist.Normal(torch.randn(5, 3), 1.0).to_event(1)
    p = WithMissing(base)
    torch.manual_seed(0)
    x = p.rsample(torch.Size((2,)))
    torch.manual_seed(0)
    assert torch.equal(x, base.rsample(torch.Size((2,)))) and p.sample(torch.Size((2,))).shape == (2, 5, 3)
    assert torch.equal(p.mean, base.mean) and torch.equal(p.variance, base.variance)
    wide = p.expand(torch.Size((2, 5)))
    assert wide.batch_shape == (2, 5) and torch.equal(wide.log_prob(x), base.log_prob(x))
    assert p.has_rsample and not WithMissing(dist.Bernoulli(0.5)).has_rsample
    assert WithMissing(dist.Normal(0.0, 1.0)).log_prob(torch.tensor([0.0, torch.nan])).shape == (2,)
    assert isinstance(entries(dist.Normal(torch.zeros(2), 1.0), True), WithMissing)
    assert not isinstance(entries(dist.Normal(torch.zeros(2), 1.0), False), WithMissing)


def test_refuses_entries_that_depend_on_one_another():
    with pytest.raises(ArgumentError, match="to_event"):
        WithMissing(dist.MultivariateNormal(torch.zeros(2), torch.eye(2)))


def test_support():
    support = ObservedPart(constraints.independent(constraints.unit_interval, 1))
    x = torch.tensor([[0.5, torch.nan], [2.0, torch.nan], [torch.nan, torch.nan]])
    assert support.check(x).tolist() == [True, False, True]
    assert support.event_dim == 1 and not support.is_discrete and "NaN" in repr(support)


class Decoder(Program):
    """A small VAE of the user's own: the encoder sees zeros and the mask, the likelihood leaves entries out."""

    def __init__(self, likelihood) -> None:
        super().__init__((4,))
        self.likelihood = likelihood
        self.encoder, self.decoder = torch.nn.Linear(8, 4), torch.nn.Linear(2, 4)

    def model(self, x=None, n=1):
        with self.plate(x, n):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            p = self.likelihood(self.decoder(z), (4,))
            return pyro.sample("x", WithMissing(p), obs=x)

    def guide(self, x):
        with self.plate(x):
            seen = ~x.isnan()
            raw = self.encoder(torch.cat([torch.where(seen, x, torch.zeros_like(x)), seen.to(x.dtype)], -1))
            return pyro.sample("z", dist.Normal(raw[..., :2], raw[..., 2:].exp()).to_event(1))


@pytest.mark.parametrize("likelihood", [Gaussian(0.5), Gaussian(), Bernoulli()])
def test_a_program_with_missing_entries_has_a_bound_and_its_gradients(likelihood):
    program = Decoder(likelihood)
    x = (torch.rand(16, 4) < 0.5).float()
    x[0] = torch.nan
    x[1:5, 2] = torch.nan
    loss = ELBO().players(program)[0].loss
    loss(program.check_batch(x)[0]).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in program.parameters())
    assert program.log_prob(x).value.isfinite().all()
    filled = program.impute(x)
    assert filled.isfinite().all() and torch.equal(filled[~x.isnan()], x[~x.isnan()])
    assert traces_with_symbolic_batch(program, ELBO(), x)


def test_data_are_still_checked():
    program = Decoder(Bernoulli())
    with pytest.raises(NonFiniteError, match="1 non-finite"):
        program.log_prob(torch.tensor([[1.0, torch.inf, 0, torch.nan]]))
    with pytest.raises(DTypeError, match="fractional"):
        program.log_prob(torch.tensor([[1.0, 0.5, 0, torch.nan]]))
    with pytest.raises(SupportError, match=r"\[0, 2\]"):
        program.log_prob(torch.tensor([[2.0, 0, 0, torch.nan]]))
