"""Oracles: sums over all levels, quadrature, SciPy, mpmath in the tails, finite differences, moments of the draws."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch

from unigen.distributions.logistic_mixture import LogisticMixture, log_sigmoid_interval

F64 = torch.float64


def mixture(levels=None, batch=(7,), k=3, spread=1.0, dtype=F64):
    shape = (*batch, k)
    scale = torch.exp(torch.randn(shape, dtype=dtype) - 2)
    return LogisticMixture(
        torch.randn(shape, dtype=dtype), spread * torch.randn(shape, dtype=dtype), scale, levels
    )


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
@pytest.mark.parametrize("spread", [0.5, 5.0, 1e3])
def test_masses_of_all_levels_sum_to_one(levels, spread):
    p = mixture(levels, spread=spread)
    mass = p.log_prob(torch.arange(levels, dtype=F64)[:, None]).exp()
    assert (mass.sum(0) - 1).abs().max() < 1e-12
    assert torch.allclose(mass.cumsum(0), p.cdf(torch.arange(levels, dtype=F64)[:, None]), atol=1e-12)


def test_the_density_integrates_to_one_and_is_scipys():
    p = mixture(batch=())
    t = torch.linspace(-1, 1, 400_001, dtype=F64)
    x, weight = 60 * t**3, 180 * t**2 * 2 / 400_000  # finer near the origin
    assert abs(float((p.log_prob(x).exp() * weight).sum()) - 1) < 1e-8
    oracle = scipy.stats.logistic.pdf(x[::1000, None].numpy(), p.loc.numpy(), p.scale.numpy())
    oracle = (oracle * p.log_weights.exp().numpy()).sum(-1)
    np.testing.assert_allclose(p.log_prob(x[::1000]).exp().numpy(), oracle, rtol=1e-10)
    cdf = scipy.stats.logistic.cdf(x[::1000, None].numpy(), p.loc.numpy(), p.scale.numpy())
    np.testing.assert_allclose(
        p.cdf(x[::1000]).numpy(), (cdf * p.log_weights.exp().numpy()).sum(-1), atol=1e-12
    )


def exact_mass(level, loc, scale, levels):
    """F(e_{j+1}) − F(e_j) of one component, with 400 digits."""
    with mpmath.workdps(400):
        m, s = mpmath.mpf(loc), mpmath.mpf(scale)
        edge = lambda j: (mpmath.mpf(2 * j) - levels) / (levels - 1)  # noqa: E731
        cdf = lambda x: 1 / (1 + mpmath.exp(-(x - m) / s))  # noqa: E731
        high = mpmath.mpf(1) if level == levels - 1 else cdf(edge(level + 1))
        low = mpmath.mpf(0) if level == 0 else cdf(edge(level))
        return float(mpmath.log(high - low))


@pytest.mark.parametrize("level", [0, 1, 100, 254, 255])
@pytest.mark.parametrize(("loc", "scale"), [(0.5, 0.0625), (-1.0, 2**-8), (4.0, 0.0078125), (-0.25, 1024.0)])
def test_tails_against_400_digits(level, loc, scale):
    one = torch.zeros(1, dtype=F64)
    p = LogisticMixture(one, one + loc, one + scale, 256)
    oracle = exact_mass(level, loc, scale, 256)
    assert float(p.log_prob(torch.tensor(float(level), dtype=F64))) == pytest.approx(oracle, rel=1e-12)
    single = LogisticMixture(one.float(), one.float() + loc, one.float() + scale, 256)
    found = float(single.log_prob(torch.tensor(float(level))))
    assert found == pytest.approx(oracle, rel=2e-5, abs=1e-5)


@pytest.mark.parametrize("levels", [None, 2, 8])
def test_gradients_against_finite_differences(levels):
    raw = torch.randn(3, 5, 2, dtype=F64, requires_grad=True)
    x = torch.arange(5, dtype=F64).clamp(max=(levels or 9) - 1)

    def log_p(raw):
        return LogisticMixture(raw[0], raw[1], torch.exp(raw[2] - 1), levels).log_prob(x)

    assert torch.autograd.gradcheck(log_p, (raw,))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("levels", [None, 256])
def test_values_and_gradients_are_finite_far_out(dtype, levels):
    loc = torch.tensor([-1e5, -30.0, 0.0, 30.0, 1e5], dtype=dtype).requires_grad_()
    rho = torch.tensor([-6.9, -3.0, 0.0, 3.0, 9.0], dtype=dtype).requires_grad_()
    grid = torch.meshgrid(loc, rho, indexing="ij")
    p = LogisticMixture(
        torch.zeros(5, 5, 1, dtype=dtype), grid[0][..., None], grid[1].exp()[..., None], levels
    )
    value = p.log_prob(torch.tensor([0.0, 1.0, 128.0, 255.0], dtype=dtype)[:, None, None])
    gradients = torch.autograd.grad(value.sum(), (loc, rho))
    assert bool(value.isfinite().all()) and all(bool(g.isfinite().all()) for g in gradients)


def test_intervals_of_the_sigmoid():
    a, width = torch.tensor([-3.0, 0.0, 2.0], dtype=F64), torch.tensor([0.1, 1.0, 30.0], dtype=F64)
    direct = torch.log(torch.sigmoid(a + width) - torch.sigmoid(a))
    torch.testing.assert_close(log_sigmoid_interval(a, width), direct, rtol=0, atol=1e-12)


@pytest.mark.parametrize("levels", [None, 2, 5, 64])
def test_draws_have_the_moments_and_frequencies(levels):
    n = 40_000
    p = mixture(levels)
    x = p.sample((n,))
    assert x.shape == (n, 7) and bool(p.support.check(x).all())
    z = (x.mean(0) - p.mean) / (p.variance.sqrt() / math.sqrt(n))
    assert z.abs().max() < 5
    if levels is None:
        at = p.mean
        u = p.cdf(at)
        assert (((x <= at).double().mean(0) - u) / (u * (1 - u) / n).sqrt()).abs().max() < 5
        return
    table = p.log_prob(torch.arange(levels, dtype=F64)[:, None]).exp()
    j = torch.arange(levels, dtype=F64)[:, None]
    torch.testing.assert_close(p.mean, (j * table).sum(0), rtol=0, atol=1e-10)
    torch.testing.assert_close(p.variance, (j**2 * table).sum(0) - (j * table).sum(0) ** 2, rtol=0, atol=1e-8)
    counts = torch.stack([(x == level).double().mean(0) for level in range(levels)])
    error = (table * (1 - table) / n).sqrt().clamp_min(1 / n)
    assert ((counts - table) / error).abs().max() < 6


def test_expands_and_keeps_integers_and_reals_apart():
    p = mixture(4, batch=(1,))
    assert p.expand((5, 7)).sample((2,)).shape == (2, 5, 7)
    assert p.expand((5, 7)).log_prob(torch.zeros(7, dtype=F64)).shape == (5, 7)
    with pytest.raises(ValueError):
        p.log_prob(torch.tensor([0.5], dtype=F64))
