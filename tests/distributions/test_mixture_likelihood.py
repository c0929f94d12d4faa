"""The mixture of Gaussians as a head: SciPy's density, mass one, moments, and where training starts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from unigen.distributions.mixture_likelihood import MixtureOfGaussians
from unigen.distributions.scales import FLOOR, positive
from unigen.errors import ArgumentError, ShapeError

F64 = torch.float64


def test_mixture_integrates_to_one_and_matches_its_components():
    head, raw = MixtureOfGaussians(3), torch.randn(9, dtype=F64)
    x = torch.linspace(-30, 30, 200_001, dtype=F64)[:, None]
    p = head(raw, (1,))
    assert abs(float(p.log_prob(x).exp().sum()) * 60 / 200_000 - 1) < 1e-9
    w, m, rho = raw[:3].softmax(0), raw[3:6], raw[6:]
    sigma = positive(rho)
    oracle = (w * torch.distributions.Normal(m, sigma).log_prob(x).exp()).sum(-1).log()
    torch.testing.assert_close(p.log_prob(x)[100_000], oracle[100_000], rtol=0, atol=1e-12)


def test_every_feature_has_a_mixture_of_its_own():
    head, raw, x = MixtureOfGaussians(2), torch.randn(5, 4 * 6, dtype=F64), torch.randn(5, 2, 2, dtype=F64)
    w, m, rho = raw.reshape(5, 4, 6).numpy().reshape(5, 4, 3, 2).transpose(2, 0, 1, 3)
    w = np.exp(w) / np.exp(w).sum(-1, keepdims=True)
    sigma = FLOOR + np.logaddexp(0.0, rho + np.log(np.expm1(1 - FLOOR)))
    each = np.log((w * stats.norm.pdf(x.numpy().reshape(5, 4, 1), m, sigma)).sum(-1))
    found = head(raw, (2, 2)).log_prob(x)
    np.testing.assert_allclose(found.numpy(), each.sum(-1), rtol=1e-10)
    assert head.width(4) == 24 and head.parameters_per_feature == 6 and not head.discrete


def test_draws_have_the_moments_of_the_mixture():
    head, raw, n = MixtureOfGaussians(3), torch.randn(9, dtype=F64), 40_000
    w, m, sigma = raw[:3].softmax(0), raw[3:6], positive(raw[6:])
    mean = float(w @ m)
    variance = float(w @ (sigma**2 + m**2)) - mean**2
    x = head(raw, (1,)).sample(torch.Size((n,)))[:, 0]
    fourth = float((x - mean).pow(4).mean())
    assert abs(float(x.mean()) - mean) < 5 * (variance / n) ** 0.5
    assert abs(float((x - mean).square().mean()) - variance) < 5 * ((fourth - variance**2) / n) ** 0.5


def test_training_starts_at_the_quantiles_of_the_data():
    """K equal components at the quantiles (k + ½)/K, of width sd/K: a smoothed histogram."""
    x, k = torch.stack((torch.randn(2001), 5 + torch.rand(2001)), 1).double(), 4
    head = MixtureOfGaussians(k)
    w, m, rho = head.marginals(x).chunk(3, -1)
    assert w.shape == m.shape == rho.shape == (2, k)
    torch.testing.assert_close(w.softmax(-1), torch.full((2, k), 1 / k, dtype=F64))
    np.testing.assert_allclose(m.T.numpy(), np.quantile(x.numpy(), (np.arange(k) + 0.5) / k, axis=0))
    torch.testing.assert_close(positive(rho), (x.std(0) / k)[:, None].expand(2, k))


def test_a_scale_never_falls_below_the_floor():
    raw = torch.tensor([0.0, 0.0, -1e4], dtype=F64)
    top = MixtureOfGaussians(1, floor=0.05)(raw, (1,)).log_prob(torch.zeros(1, dtype=F64))
    assert float(top) == pytest.approx(stats.norm.logpdf(0.0, 0, 0.05), rel=1e-9)
    assert MixtureOfGaussians(1, floor=0.05).extra_repr() == "components=1, floor=0.05"


@pytest.mark.parametrize("options", [{"components": 0}, {"floor": 0.0}, {"floor": 1.0}, {"floor": math.nan}])
def test_bad_options_are_refused(options: dict[str, Any]):
    with pytest.raises(ArgumentError, match="floor"):
        MixtureOfGaussians(**options)
    with pytest.raises(ShapeError, match="9 for each of 2 features"):
        MixtureOfGaussians(3)(torch.zeros(9), (2,))
