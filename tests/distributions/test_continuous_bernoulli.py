"""Oracles: quadrature, and the maximum of the likelihood."""

from __future__ import annotations

import torch

from unigen.distributions.continuous_bernoulli import ContinuousBernoulli

F64 = torch.float64


def test_density_integrates_to_one_where_that_of_the_bernoulli_does_not():
    raw = torch.tensor([-3.0, -1e-4, 0.0, 2.0], dtype=F64)
    x = ((torch.arange(20_000, dtype=F64) + 0.5) / 20_000)[:, None]
    mass = ContinuousBernoulli().elementwise(raw[:, None], torch.Size()).log_prob(x).exp().mean(0)
    assert (mass - 1).abs().max() < 1e-6
    kernel = (raw * x - torch.nn.functional.softplus(raw)).exp().mean(0)
    assert ((kernel - 1).abs() > 0.1).all()


def test_marginals_maximise_the_likelihood():
    head, x = ContinuousBernoulli(), torch.rand(500, 3, dtype=F64) ** torch.tensor([1.0, 3.0, 0.2])
    raw = head.marginals(x).requires_grad_()
    head(raw.flatten(), (3,)).log_prob(x).mean().backward()
    assert raw.grad is not None and raw.grad.abs().max() < 1e-6


def test_shapes_support_and_gradients():
    p = ContinuousBernoulli()(torch.randn(5, 4, requires_grad=True), (4,))
    x = p.rsample()
    assert x.shape == (5, 4) and x.requires_grad and bool(p.support.check(x).all())
    assert not bool(p.support.check(x + 2).any())
