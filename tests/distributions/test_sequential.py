"""Oracles: enumeration, χ² of draws, the same bits with and without a cache, quadrature through the conditionals."""

from __future__ import annotations

import math

import pyro
import pytest
import torch
from pyro import poutine
from scipy.stats import chi2

from tests.sequences import F64, codes, pixelcnn, states, transformer
from unigen.distributions.likelihoods import Bernoulli, Categorical, Gaussian
from unigen.distributions.logistic_likelihood import MixtureOfLogistics
from unigen.distributions.sequential import SequentialDistribution
from unigen.errors import ArgumentError, ShapeError, SupportError
from unigen.logprob import Kind
from unigen.nn.transformer import CausalTransformer


def finite(name):
    return {
        "tokens": lambda: (transformer(6, 3), 3),
        "pixels in a sequence": lambda: (transformer(5, None, likelihood=MixtureOfLogistics(2, levels=3)), 3),
        "bits": lambda: (transformer(7, None, likelihood=Bernoulli(), positions="learned"), 2),
        "image": lambda: (pixelcnn((1, 2, 2), Categorical(3)), 3),
        "channels": lambda: (pixelcnn((3, 1, 2), Bernoulli()), 2),
    }[name]()


NAMES = ("tokens", "pixels in a sequence", "bits", "image", "channels")


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_it_sums_to_one_over_all_states(name):
    program, levels = finite(name)
    p, x = program.marginal(), states(math.prod(program.event_shape), levels)
    x = x.reshape(-1, *program.event_shape)
    assert abs(float(p.log_prob(x).exp().sum()) - 1) < 1e-10
    each = p.conditional_log_prob(x)
    assert each.shape == x.shape and torch.allclose(each.flatten(1).sum(1), p.log_prob(x), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_draws_follow_the_enumerated_probabilities(name):
    """χ² over all states, 4,000 draws, false-positive rate 10⁻⁷."""
    program, levels = finite(name)
    p, n, x = program.marginal(), 4000, states(math.prod(program.event_shape), levels)
    expected = p.log_prob(x.reshape(-1, *program.event_shape)).exp() * n
    counts = torch.bincount(codes(p.sample((n,)), levels), minlength=len(x)).double()
    rare = expected < 10
    counts = torch.cat((counts[~rare], counts[rare].sum()[None]))
    expected = torch.cat((expected[~rare], expected[rare].sum()[None] + 1e-9))
    statistic = float(((counts - expected).square() / expected).sum())
    assert statistic < chi2.isf(1e-7, len(expected))


@pytest.mark.parametrize(
    "build",
    [
        lambda: transformer(12, 7, context=2),
        lambda: transformer(12, 7, context=2, positions="learned"),
        lambda: transformer(12, None, likelihood=Gaussian("network"), context=2),
        lambda: transformer(12, None, likelihood=MixtureOfLogistics(2), context=2),
        lambda: pixelcnn((2, 2, 3), Gaussian("network"), context=2),
    ],
    ids=["tokens", "learned positions", "Gaussian", "mixture", "PixelCNN"],
)
@pytest.mark.parametrize("known", [0, 5])
def test_draws_with_a_cache_are_those_without_to_the_bit(build, known):
    program = build()
    p = program.marginal(torch.randn(30, 2, dtype=F64))
    x = program.sample(30, torch.zeros(1, 2)).flatten(1)
    drawn = []
    for cache in (True, False):
        torch.manual_seed(11)
        drawn.append(p.complete(x, known, cache=cache))
    order = list(program.net.order)
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0][:, order[:known]], x[:, order[:known]])
    assert not torch.equal(drawn[0][:, order[known:]], x[:, order[known:]])


@torch.no_grad()
def test_tokens_drawn_with_the_cache_are_those_of_whole_passes_to_the_bit():
    p, x = transformer(12, 7).marginal(), torch.zeros(40, 12, dtype=F64)
    torch.manual_seed(5)
    cached = p.complete(x, 0)
    torch.manual_seed(5)
    for t in range(12):
        phi = p.net(p.code(x))[:, t]
        x[:, t] = torch.multinomial(phi.log_softmax(-1).softmax(-1), 1)[:, 0].to(F64)
    assert torch.equal(cached, x)


@pytest.mark.parametrize("head", [Gaussian("network"), MixtureOfLogistics(2)], ids=str)
@torch.no_grad()
def test_real_conditionals_integrate_to_one_and_draws_follow_them(head):
    p = transformer(3, None, likelihood=head).marginal()
    x = p.sample((4000,))
    u = torch.linspace(-1, 1, 20_001, dtype=F64)
    grid, weight = 300 * u**5, 1500 * u**4 * (u[1] - u[0])
    steps = p.net.steps()
    for t in range(3):
        phi = steps(p.code(x), t)
        q = head.elementwise(phi[0].expand(len(grid), -1), torch.Size(()))
        assert abs(float((q.log_prob(grid).exp() * weight).sum()) - 1) < 1e-6
        q = head.elementwise(phi, torch.Size(()))
        z = (x[:, t] - q.mean) / q.stddev
        assert abs(float(z.mean())) < 5 / math.sqrt(4000)


@torch.no_grad()
def test_contexts_batches_and_plates():
    program = transformer(4, 3, context=2)
    c = torch.randn(5, 2, dtype=F64)
    p = program.marginal(c)
    assert p.batch_shape == (5,) and p.event_shape == (4,) and p.kind is Kind.EXACT and not p.has_rsample
    x = p.sample((7,))
    assert x.shape == (7, 5, 4) and p.expand((6, 5)).sample().shape == (6, 5, 4)
    rows = torch.stack([program.marginal(c[i]).log_prob(x[:, i]) for i in range(5)], 1)
    assert torch.allclose(p.log_prob(x), rows, atol=1e-12)

    def model():
        with pyro.plate("particles", 4, dim=-2), pyro.plate("data", 5):
            return pyro.sample("x", p)

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    assert trace.nodes["x"]["value"].shape == (4, 5, 4) and trace.nodes["x"]["log_prob"].shape == (4, 5)


@torch.no_grad()
def test_a_warp_changes_what_is_drawn():
    p = transformer(4, 3).marginal()
    only = torch.tensor([0.0, -math.inf, -math.inf], dtype=F64)
    assert bool(
        (p.complete(torch.ones(5, 4, dtype=F64), 1, warp=lambda table: table + only)[:, 1:] == 0).all()
    )


def test_bad_values_and_parts_are_refused():
    p = transformer(4, 3).marginal()
    with pytest.raises(SupportError):
        p.log_prob(torch.full((2, 4), 3.0, dtype=F64))
    with pytest.raises(ShapeError):
        p.log_prob(torch.zeros(2, 5, dtype=F64))
    net = CausalTransformer(4, 3, classes=3, width=8, heads=2)
    for head, shape in (
        (Categorical(4), (4,)),
        (Categorical(3), (5,)),
        (Gaussian("per_feature", features=4), (4,)),
    ):
        with pytest.raises(ArgumentError):
            SequentialDistribution(net, head, shape)
