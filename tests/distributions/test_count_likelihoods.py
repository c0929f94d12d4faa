"""Oracles: SciPy's mass functions, sums to one, moments, stationarity of the marginals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from unigen.distributions.count_likelihoods import LOG_LIMIT, NegativeBinomial, Poisson

F64 = torch.float64
HEADS = [Poisson(), NegativeBinomial()]
each_head = pytest.mark.parametrize("head", HEADS, ids=lambda h: type(h).__name__)


def test_mass_against_scipy():
    raw, x = torch.randn(6, 8, dtype=F64), torch.randint(0, 9, (6, 4)).double()
    mean, r = raw[:, 0::2].exp().numpy(), raw[:, 1::2].exp().numpy()
    oracle = scipy.stats.nbinom.logpmf(x.numpy(), r, r / (r + mean)).sum(1)
    np.testing.assert_allclose(NegativeBinomial()(raw, (4,)).log_prob(x).numpy(), oracle, rtol=1e-10)
    oracle = scipy.stats.poisson.logpmf(x.numpy(), raw[:, :4].exp().numpy()).sum(1)
    np.testing.assert_allclose(Poisson()(raw[:, :4], (4,)).log_prob(x).numpy(), oracle, rtol=1e-10)


@each_head
def test_masses_sum_to_one_with_the_stated_moments(head):
    p = head(torch.randn(head.parameters_per_feature, dtype=F64), (1,))
    k = torch.arange(3000.0, dtype=F64)[:, None]
    mass = p.log_prob(k).exp()
    assert abs(float(mass.sum()) - 1) < 1e-6
    mean = float((mass * k[:, 0]).sum())
    assert mean == pytest.approx(float(p.mean), rel=1e-5)
    assert float((mass * (k[:, 0] - mean) ** 2).sum()) == pytest.approx(float(p.variance), rel=1e-4)


@each_head
def test_shapes_support_and_codes(head):
    p = head(torch.randn(5, 7, 12 * head.parameters_per_feature), (3, 4))
    x = p.sample()
    assert x.shape == (5, 7, 3, 4) and p.log_prob(x).shape == (5, 7) and head.discrete
    assert bool(p.support.check(x).all()) and not bool(p.support.check(x - 1e3).any())
    torch.testing.assert_close(head.encode(x), (1 + x).log())
    assert head.width(3) == 3 * head.parameters_per_feature and head.input_width(3) == 3


@each_head
def test_outputs_without_bound_stay_finite(head):
    raw = torch.tensor([[1e5], [-1e5]]).expand(2, head.parameters_per_feature)
    assert head(raw, (1,)).log_prob(torch.ones(2, 1)).isfinite().all()
    assert torch.log(head(raw, (1,)).mean.double()).max() <= LOG_LIMIT + 1e-4


def test_marginals_are_the_moments():
    r, mean, n = 3.0, 5.0, 40_000
    x = torch.distributions.NegativeBinomial(r, logits=torch.tensor(mean / r).log()).sample((n, 2)).double()
    raw = NegativeBinomial().marginals(x)
    p = NegativeBinomial()(raw.flatten(), (2,))
    torch.testing.assert_close(p.mean, x.mean(0), rtol=1e-3, atol=0)
    torch.testing.assert_close(p.variance, x.var(0), rtol=1e-3, atol=0)
    under = torch.full((50, 1), 2.0)  # less dispersed than Poisson
    assert NegativeBinomial().marginals(under).isfinite().all()
    assert float(Poisson().marginals(under).exp()) == pytest.approx(2.01)
    assert Poisson().marginals(torch.zeros(50, 1)).isfinite().all()
