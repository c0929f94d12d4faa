"""Enumeration of all states, of all orders, and of the draws; the objective against an explicit latent order."""

from __future__ import annotations

import itertools
import math

import pyro
import pytest
import torch
from pyro import poutine
from scipy.stats import chi2

from unigen.distributions.likelihoods import Bernoulli, Categorical, Gaussian
from unigen.distributions.mixture_of_orders import MixtureOfOrders
from unigen.distributions.order_conditioner import OrderConditioner
from unigen.distributions.orders import check_orders
from unigen.errors import ArgumentError, DTypeError, ShapeError, SupportError
from unigen.logprob import Kind
from unigen.objectives.elbo import elbo
from unigen.program import Program

F64 = torch.float64


def build(features, head, *, orders=4, context=0, batch=None, scale=1.0):
    net = OrderConditioner(
        check_orders(orders, features), head.parameters_per_feature, inputs=head.inputs_per_feature,
        hidden=(24, 24), context=context,
    )  # fmt: skip
    for parameter in net.parameters():
        torch.nn.init.normal_(
            parameter, std=scale / math.sqrt(parameter.shape[-1]) if parameter.dim() > 1 else scale
        )
    c = None if batch is None else torch.randn(batch, context, dtype=F64)
    return MixtureOfOrders(net.double(), head.double(), c)


def states(features, values=2):
    return torch.tensor(list(itertools.product(range(values), repeat=features)), dtype=F64)


@torch.no_grad()
@pytest.mark.parametrize("orders", [1, 3, 8])
def test_sums_to_one_over_all_states(orders):
    """2¹⁰ states; the orders disagree, and each sums to one too."""
    p, x = build(10, Bernoulli(), orders=orders, scale=3.0), states(10)
    assert abs(float(p.log_prob(x).exp().sum()) - 1) < 1e-12
    each = torch.stack([p.log_prob_given(x, m) for m in range(orders)])
    assert (each.exp().sum(1) - 1).abs().max() < 1e-12
    torch.testing.assert_close(p.log_prob(x).exp(), each.exp().mean(0), rtol=1e-12, atol=0)
    assert orders == 1 or (each[0] - each[1]).abs().max() > 0.1


@torch.no_grad()
def test_categories_sum_to_one():
    p = build(5, Categorical(4))
    assert abs(float(p.log_prob(states(5, 4)).exp().sum()) - 1) < 1e-12


class WithOrder(Program):
    """The same mixture with its order as a site o, and the uniform distribution as the guide."""

    def __init__(self, mixture):
        super().__init__((mixture.net.features,))
        self.net, self.mixture = mixture.net, mixture

    def uniform(self):
        return pyro.distributions.Categorical(logits=torch.zeros(self.mixture.orders, dtype=F64))

    def model(self, x=None, n=1):
        with self.plate(x, n):
            o = pyro.sample("o", self.uniform())
            given = torch.zeros(n, 6, dtype=F64) if x is None else x
            raw = torch.stack([self.net(given, m) for m in range(4)])[o, torch.arange(given.shape[0])]
            return pyro.sample("x", pyro.distributions.Bernoulli(logits=raw[..., 0]).to_event(1), obs=x)

    def guide(self, x=None, n=1):
        with self.plate(x, n):
            pyro.sample("o", self.uniform())


@torch.no_grad()
def test_the_objective_is_the_elbo_of_a_latent_order():
    """Σ_o p(o) p(x | o) is log_prob; the ELBO with the uniform guide is the mean over orders, and below it."""
    p = build(6, Bernoulli(), scale=2.0)
    x = states(6)[::7]
    program = WithOrder(p)
    each = []
    for m in range(4):
        trace = poutine.trace(poutine.condition(program.model, {"o": torch.full((10,), m)})).get_trace(x)
        trace.compute_log_prob()
        each.append(trace.nodes["o"]["log_prob"] + trace.nodes["x"]["log_prob"])
    torch.testing.assert_close(p.log_prob(x), torch.logsumexp(torch.stack(each), 0), rtol=1e-12, atol=0)
    bound = (torch.stack(each) + math.log(4)).mean(0)
    assert bool((bound < p.log_prob(x)).all())
    drawn = torch.stack([p.surrogate(x) for _ in range(4000)])
    z = (drawn.mean(0) - bound) / (drawn.std(0) / math.sqrt(4000))
    assert z.abs().max() < 5
    spread = torch.stack([elbo(program, x) for _ in range(500)])
    assert ((spread.mean(0) - bound) / (spread.std(0) / math.sqrt(500))).abs().max() < 5
    allowed = torch.stack([p.log_prob_given(x, m) for m in range(4)])
    assert bool(
        ((drawn[:, None] - allowed).abs().amax(-1).amin(1) < 1e-12).all()
    )  # one order for a whole batch


@torch.no_grad()
def test_draws_follow_the_enumerated_probabilities():
    """χ² over 2⁶ states, 100,000 draws, false-positive rate 10⁻⁷."""
    p, x = build(6, Bernoulli(), scale=2.0), states(6)
    expected = p.log_prob(x).exp() * 100_000
    code = (p.sample((100_000,)) @ (2.0 ** torch.arange(5, -1, -1, dtype=F64))).long()
    counts = torch.bincount(code, minlength=64).double()
    keep = expected > 10
    statistic = float(((counts - expected).square() / expected)[keep].sum())
    assert statistic < chi2.isf(1e-7, int(keep.sum()))


@torch.no_grad()
def test_gaussian_conditionals_integrate_to_one():
    p = build(2, Gaussian("network"), scale=0.3)
    n, half = 500, 40.0
    u = (torch.arange(n, dtype=F64) + 0.5) / n * 2 - 1
    x, weight = half * u**5, half * 5 * u**4 * 2 / n  # finer near the origin
    value = p.log_prob(torch.cartesian_prod(x, x)).exp().reshape(n, n)
    assert abs(float((weight[:, None] * weight * value).sum()) - 1) < 1e-6


@torch.no_grad()
def test_context_batches_expand_and_plates():
    p = build(3, Bernoulli(), context=2, batch=5)
    assert p.batch_shape == (5,) and p.event_shape == (3,) and p.kind is Kind.EXACT
    assert p.sample((7,)).shape == (7, 5, 3) and p.expand((4, 5)).sample().shape == (4, 5, 3)
    x = p.sample((2,))
    one = build(3, Bernoulli(), context=2, batch=1)
    assert one.log_prob(x).shape == (2, 5) and p.surrogate(x).shape == (2, 5)


@torch.no_grad()
def test_draws_use_the_context_of_their_row():
    p = build(4, Bernoulli(), context=1, batch=2, scale=3.0)
    p.context.copy_(torch.tensor([[-3.0], [3.0]]))
    draws = p.sample((20_000,))
    for row in range(2):
        alone = MixtureOfOrders(p.net, p.likelihood, p.context[row : row + 1].expand(16, 1))
        mass = alone.log_prob(states(4)).exp()
        mean = (mass[:, None] * states(4)).sum(0)
        error = (mean * (1 - mean) / 20_000).sqrt().clamp_min(1e-4)
        assert ((draws[:, row].mean(0) - mean) / error).abs().max() < 5.5


def test_bad_values_and_parts_are_refused():
    p = build(3, Bernoulli())
    with pytest.raises(SupportError):
        p.log_prob(torch.full((2, 3), 0.5, dtype=F64))
    with pytest.raises(ShapeError):
        p.log_prob(torch.zeros(2, 4, dtype=F64))
    with pytest.raises(DTypeError):
        build(3, Gaussian("network")).log_prob(torch.zeros(2, 3, dtype=torch.long))
    net = OrderConditioner(check_orders(2, 3), 1)
    for head in (Gaussian("network"), Categorical(3), Gaussian("per_feature", features=3)):
        with pytest.raises(ArgumentError):
            MixtureOfOrders(net, head)
