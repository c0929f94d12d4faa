"""The deep Markov model: its bound against the Kalman filter where it is linear, its shapes, its laws."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import unigen as ug
from unigen.distributions.likelihoods import Gaussian
from unigen.errors import ArgumentError
from unigen.models.deep_markov import DeepMarkov
from unigen.models.state_space import StateSpace


class LinearStep(nn.Module):
    """z ↦ (A z, 1): the transition of a linear-Gaussian model."""

    def __init__(self, a):
        super().__init__()
        self.register_buffer("a", a)

    def forward(self, z, h=None):
        return z @ self.a.mT, torch.ones_like(z)


def linear_pair():
    """A deep Markov model and a state-space model with the same p(x, z)."""
    kalman = StateSpace(2, 4, 2)
    deep = DeepMarkov(
        2, 4, 2, likelihood=Gaussian(0.5), hidden=(), transition=LinearStep(kalman.transition.detach())
    )
    with torch.no_grad():
        kalman.log_noise.fill_(2 * torch.tensor(0.5).log())
        (layer,) = deep.emission.layers
        layer.weight.copy_(kalman.weight)
        layer.bias.copy_(kalman.offset)
    deep.start.requires_grad_(False)
    return deep, kalman


def test_log_prob_approaches_the_kalman_evidence_from_below():
    deep, kalman = linear_pair()
    x = kalman.sample(200)
    for parameter in deep.emission.parameters():
        parameter.requires_grad_(False)
    deep.fitted = True
    ug.fit(deep, x, steps=500, batch_size=200, lr=1e-2, seed=0)
    exact = kalman.log_prob(x).value
    bound = deep.log_prob(x, density=ug.Importance(1000)).value
    few = deep.log_prob(x, density=ug.Importance(2)).value
    assert float((exact - few).mean()) > float((exact - bound).mean()) - 0.01
    assert abs(float((exact - bound).mean())) < 0.05


def test_a_path_is_scored_as_it_is_drawn():
    program = DeepMarkov(2, 5, 3)
    x = program.sample(7)
    q = program.posterior(x)
    assert q.rsample().shape == (7, 5, 3) and q.log_prob(q.rsample()).shape == (7,)
    z = q.rsample()
    total = torch.zeros(7)
    for t in range(5):  # step by step instead of all at once
        before = program.start.expand(7, 3) if t == 0 else z[:, t - 1]
        total = total + torch.distributions.Normal(*q.step(before, q.known[:, t])).log_prob(z[:, t]).sum(-1)
    torch.testing.assert_close(q.log_prob(z), total, atol=1e-4, rtol=1e-5)


def test_posterior_reads_only_the_present_and_the_future():
    program = DeepMarkov(2, 5, 3)
    x = torch.randn(1, 5, 2, requires_grad=True)
    h = program._summary(x)
    for t in range(5):
        (gradient,) = torch.autograd.grad(h[:, t].sum(), x, retain_graph=True)
        reach = gradient.abs().sum((0, 2)) > 0
        assert reach.tolist() == [s >= t for s in range(5)]


def test_padding_does_not_change_the_bound():
    program = DeepMarkov(2, 5, 3, missing=True)
    x = program.sample(3)
    x[:, 3:] = torch.nan
    value = program.log_prob(x, density=ug.Importance(2000))
    assert bool(value.value.isfinite().all())
    r = ug.fit(program, x, steps=3, seed=0)
    assert all(v == v for _, v in r.history["elbo"])


def test_laws():
    report = ug.check_program(DeepMarkov(2, 3), torch.randn(40, 3, 2))
    assert all(outcome.held is not False for outcome in report.outcomes), report


def test_sizes_below_one_are_refused():
    with pytest.raises(ArgumentError, match="sizes"):
        DeepMarkov(2, 3, summary=0)
