"""Oracles: enumeration, quadrature, Jacobians, moments of the draws, and a factorised model by hand."""

from __future__ import annotations

import math

import pyro
import pytest
import torch
from pyro import poutine
from scipy.stats import chi2

from unigen.distributions.autoregressive import AutoregressiveDistribution
from unigen.distributions.conditioners import MaskedConditioner
from unigen.distributions.likelihoods import Bernoulli, Categorical, Gaussian
from unigen.distributions.mixture_likelihood import MixtureOfGaussians
from unigen.errors import ArgumentError, DTypeError, ShapeError, SupportError, UnsupportedQueryError
from unigen.logprob import Kind

F64 = torch.float64


def build(features, head, *, context=0, order=None, batch=None, scale=0.5):
    net = MaskedConditioner(
        features, head.parameters_per_feature, inputs=head.inputs_per_feature, hidden=(24, 24),
        context=context, order=order,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    c = None if batch is None else torch.randn(batch, context, dtype=F64)
    return AutoregressiveDistribution(net.double(), head.double(), c)


@pytest.mark.parametrize("order", [None, tuple(range(11, -1, -1)), (3, 7, 1, 0, 11, 5, 2, 10, 4, 9, 6, 8)])
@torch.no_grad()
def test_bernoulli_sums_to_one_over_all_states(order):
    p = build(12, Bernoulli(), order=order)
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=F64)] * 12)
    assert abs(float(p.log_prob(states).exp().sum()) - 1) < 1e-10


@torch.no_grad()
def test_categorical_sums_to_one_over_all_states():
    p = build(6, Categorical(4), order=(2, 0, 1, 5, 4, 3))
    states = torch.cartesian_prod(*[torch.arange(4)] * 6)
    assert abs(float(p.log_prob(states).exp().sum()) - 1) < 1e-10
    assert torch.equal(p.log_prob(states), p.log_prob(states.double()))


@pytest.mark.parametrize("head", [Gaussian("network"), Gaussian("learned"), MixtureOfGaussians(3)], ids=str)
@torch.no_grad()
def test_densities_integrate_to_one(head):
    p = build(2, head, order=(1, 0), scale=0.1)
    n, half = 1000, 40.0
    u = (torch.arange(n, dtype=F64) + 0.5) / n * 2 - 1
    x, weight = half * u**5, half * 5 * u**4 * 2 / n  # finer near the origin
    total = 0.0
    for rows, w in zip(x.split(100), weight.split(100), strict=True):
        value = p.log_prob(torch.cartesian_prod(rows, x)).exp().reshape(rows.shape[0], n)
        total += float((w[:, None] * weight * value).sum())
    assert abs(total - 1) < 1e-6


@torch.no_grad()
def test_draws_follow_the_enumerated_probabilities():
    """χ² over 2⁶ states, 200,000 draws, false-positive rate 10⁻⁷."""
    p = build(6, Bernoulli(), order=(5, 3, 1, 0, 2, 4))
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=F64)] * 6)
    expected = p.log_prob(states).exp() * 200_000
    x = p.sample((200_000,))
    code = (x @ (2.0 ** torch.arange(5, -1, -1, dtype=F64))).long()
    counts = torch.bincount(code, minlength=64).double()
    keep = expected > 10
    statistic = float(((counts - expected).square() / expected)[keep].sum())
    assert statistic < chi2.isf(1e-7, int(keep.sum()))


@pytest.mark.parametrize("head", [Gaussian("network"), MixtureOfGaussians(3)], ids=str)
@torch.no_grad()
def test_draws_follow_the_conditionals(head):
    """The probability integral transform of sequential draws is uniform: Kolmogorov–Smirnov, 50,000 draws."""
    p = build(3, head, order=(2, 0, 1))
    x = p.sample((50_000,))
    each = head.elementwise(p.net(x), torch.Size((3,)))
    if isinstance(head, Gaussian):
        u = each.cdf(x)
    else:
        u = (each.mixture_distribution.probs * each.component_distribution.cdf(x[..., None])).sum(-1)
    ks = (u.sort(0)[0] - (torch.arange(50_000, dtype=F64)[:, None] + 0.5) / 50_000).abs().max()
    assert ks < math.sqrt(-0.5 * math.log(1e-7 / 2) / 50_000) + 1e-5
    correlation = torch.corrcoef(u.T) - torch.eye(3, dtype=F64)
    assert correlation.abs().max() < 6 / math.sqrt(50_000)


def test_log_prob_of_a_feature_ignores_what_comes_after():
    p = build(5, Gaussian("network"), order=(4, 2, 0, 1, 3))
    x = torch.randn(5, dtype=F64)
    j = torch.autograd.functional.jacobian(
        lambda v: p.likelihood.elementwise(p.net(v), torch.Size((5,))).log_prob(v.detach()), x
    )
    for k, i in enumerate(p.net.order):
        for later in p.net.order[k:]:
            assert j[i, later] == 0


def test_reparameterised_draws_have_the_gradient_of_the_triangular_map():
    p = build(3, Gaussian("network"))
    seed = torch.get_rng_state()
    x = p.rsample((4,))
    assert x.requires_grad
    torch.set_rng_state(seed)
    assert torch.equal(x.detach(), p.sample((4,)))
    x.sum().backward()
    assert all(q.grad is not None for q in p.net.parameters())


def test_context_batches_expand_and_plates():
    p = build(3, Bernoulli(), context=2, batch=5)
    assert p.batch_shape == (5,) and p.event_shape == (3,) and p.kind is Kind.EXACT
    assert p.sample((7,)).shape == (7, 5, 3) and p.expand((4, 5)).sample().shape == (4, 5, 3)

    def model():
        with pyro.plate("particles", 4, dim=-2), pyro.plate("data", 5):
            return pyro.sample("x", p)

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    assert trace.nodes["x"]["value"].shape == (4, 5, 3) and trace.nodes["x"]["log_prob"].shape == (4, 5)


def test_bad_values_and_parts_are_refused():
    p = build(3, Bernoulli())
    with pytest.raises(SupportError):
        p.log_prob(torch.full((2, 3), 0.5, dtype=F64))
    with pytest.raises(ShapeError):
        p.log_prob(torch.zeros(2, 4, dtype=F64))
    with pytest.raises(DTypeError):
        build(3, Gaussian("network")).log_prob(torch.zeros(2, 3, dtype=torch.long))
    with pytest.raises(UnsupportedQueryError):
        p.rsample()
    with pytest.raises(ArgumentError):
        AutoregressiveDistribution(MaskedConditioner(3, 1), Gaussian("network"))
    with pytest.raises(ArgumentError):
        AutoregressiveDistribution(MaskedConditioner(3, 1), Gaussian("per_feature", features=3))
