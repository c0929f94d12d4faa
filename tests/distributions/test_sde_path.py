"""Paths of Euler's scheme: density step by step, moments against the linear recursion, Girsanov's formula, path KL."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import kl_divergence

from unigen.distributions.sde_path import SDEPath
from unigen.traces import log_weights

F64 = torch.float64


def drift(z, t):
    return torch.sin(z) - t[..., None] if t.dim() else torch.sin(z) - t


def diffusion(z, t):
    return 0.5 + 0.1 * torch.tanh(z)


def control(z, t, c):
    return c - z


TIMES = torch.tensor([0.0, 0.1, 0.25, 0.7, 1.0], dtype=F64)


def pair(n=3):
    loc, scale = torch.randn(n, 2, dtype=F64), torch.rand(n, 2, dtype=F64) + 0.3
    known = torch.randn(n, 4, 2, dtype=F64)
    p = SDEPath(drift, diffusion, torch.zeros(2, dtype=F64), torch.ones(2, dtype=F64), TIMES)
    return SDEPath(drift, diffusion, loc, scale, TIMES, control, known), p


def test_density_is_the_product_of_the_steps():
    q, _ = pair()
    z = q.rsample((7,))
    assert z.shape == (7, 3, 5, 2)
    total = torch.distributions.Normal(q.loc, q.scale).log_prob(z[..., 0, :]).sum(-1)
    for k in range(4):
        t, h, now = TIMES[k], TIMES[k + 1] - TIMES[k], z[..., k, :]
        g = diffusion(now, t)
        mean = now + h * (drift(now, t) + g * control(now, t, q.known[:, k]))
        total = total + torch.distributions.Normal(mean, g * h.sqrt()).log_prob(z[..., k + 1, :]).sum(-1)
    torch.testing.assert_close(q.log_prob(z), total)


def test_draws_have_the_moments_of_the_linear_recursion():
    one, times = torch.ones(1, dtype=F64), torch.linspace(0, 2, 11, dtype=F64)
    path = SDEPath(lambda z, t: 0.3 - z, lambda z, t: 0.6 + 0 * z, 2 * one, 0.5 * one, times)
    z, n = path.expand([40_000]).sample(), 40_000
    m, v = 2.0, 0.25
    for k in range(10):
        m, v = m + 0.2 * (0.3 - m), 0.8**2 * v + 0.36 * 0.2
        assert abs(float(z[:, k + 1].mean()) - m) < 5 * math.sqrt(v / n)
        assert abs(float(z[:, k + 1].var()) / v - 1) < 5 * math.sqrt(2 / n)


def test_girsanov_and_the_path_kl_agree_in_the_mean():
    q, p = pair()
    q, p = q.expand([4000, 3]), p.expand([4000, 3])
    z = q.rsample()
    whole = q.log_prob(z) - p.log_prob(z)
    path = kl_divergence(q, p)
    assert path.shape == whole.shape == (4000, 3)
    martingale = whole - path
    assert bool((martingale.mean(0).abs() < 5 * martingale.std(0) / math.sqrt(4000)).all())
    assert not bool(torch.allclose(whole, path))


def test_kl_of_a_shift_is_exact():
    one, times = torch.ones(1, dtype=F64), torch.linspace(0, 2, 6, dtype=F64)
    f, g = (lambda z, t: -z), (lambda z, t: 0.5 + 0 * z)
    p = SDEPath(f, g, 0 * one, one, times)
    q = SDEPath(f, g, 1 + 0 * one, one, times, lambda z, t, c: 0 * z + 1.0)
    torch.testing.assert_close(
        kl_divergence(q, p), torch.tensor(1.0 + 0.5, dtype=F64)
    )  # and KL of the starts


def test_kl_is_of_the_draw_just_made_and_only_once():
    q, p = pair()
    z = q.rsample()
    first = q.last_energy()
    hand = sum(
        0.5 * (TIMES[k + 1] - TIMES[k]) * control(z[:, k], None, q.known[:, k]).square().sum(-1)
        for k in range(4)
    )
    torch.testing.assert_close(first, hand)
    assert not torch.allclose(q.last_energy(), first)  # of another draw
    assert kl_divergence(q, p).shape == (3,)


def test_kl_of_paths_that_share_nothing_is_not_known():
    q, p = pair()
    other = SDEPath(lambda z, t: z, diffusion, q.loc, q.scale, TIMES)
    for a, b in ((q, other), (p, q)):
        with pytest.raises(NotImplementedError):
            kl_divergence(a, b)


def test_log_weights_take_the_path_kl_where_it_is_analytic():
    import pyro

    q, p = pair()

    def model():
        with pyro.plate("data", 3, dim=-1):
            pyro.sample("z", p)

    def guide():
        with pyro.plate("data", 3, dim=-1):
            pyro.sample("z", q)

    torch.manual_seed(1)
    path = log_weights(model, guide, samples=2000, analytic=True).local
    whole = log_weights(model, guide, samples=2000).local
    stderr = (path.var(0) + whole.var(0)).div(2000).sqrt()
    assert bool(((path.mean(0) - whole.mean(0)).abs() < 5 * stderr).all())
    assert bool((path.std(0) < whole.std(0)).all())
