"""Oracles: SciPy's densities, sums and integrals to one, moments of the draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from unigen.distributions.likelihoods import Bernoulli, Categorical, Gaussian
from unigen.distributions.mixture_likelihood import MixtureOfGaussians
from unigen.distributions.scales import FLOOR, inverse_softplus
from unigen.errors import ArgumentError, ShapeError

F64 = torch.float64
HEADS = [
    Gaussian(),
    Gaussian("per_feature", features=12),
    Gaussian("network"),
    Gaussian(0.5),
    Bernoulli(),
    Categorical(5),
    MixtureOfGaussians(3),
]


@pytest.mark.parametrize("head", HEADS, ids=lambda h: f"{type(h).__name__} {h.extra_repr()}")
@pytest.mark.parametrize("event", [(12,), (3, 4), (2, 3, 2)])
def test_shapes_support_and_mean(head, event):
    raw = torch.randn(5, 7, 12 * head.parameters_per_feature)
    p = head(raw, event)
    assert p.event_shape == event and p.batch_shape == (5, 7)
    x = p.sample()
    assert x.shape == (5, 7, *event) and p.log_prob(x).shape == (5, 7)
    assert bool(p.support.check(x).all())
    draws = p.sample((4000,)).double()
    z = (draws.mean(0) - p.mean) / (draws.std(0) + 1e-6) * math.sqrt(4000)
    assert z.abs().max() < 6.0  # 420 means
    assert p.support.event_dim == len(event) and head.discrete == p.support.is_discrete
    assert head.encode(x.flatten(2)).shape == (5, 7, 12 * head.inputs_per_feature)


def test_gaussian_against_scipy():
    raw, x = torch.randn(6, 8, dtype=F64), torch.randn(6, 4, dtype=F64)
    m, rho = raw[:, 0::2].numpy(), raw[:, 1::2].numpy()
    sigma = FLOOR + np.logaddexp(0.0, rho + np.log(np.expm1(1 - FLOOR)))
    oracle = scipy.stats.norm.logpdf(x.numpy(), m, sigma).sum(1)
    np.testing.assert_allclose(Gaussian("network")(raw, (4,)).log_prob(x).numpy(), oracle, rtol=1e-12)
    fixed = Gaussian(0.3)(raw[:, :4], (4,)).log_prob(x).numpy()
    np.testing.assert_allclose(fixed, scipy.stats.norm.logpdf(x, raw[:, :4], 0.3).sum(1), rtol=1e-12)


def test_bernoulli_and_categorical_against_scipy():
    logits, x = torch.randn(6, 4, dtype=F64), torch.randint(2, (6, 4)).double()
    oracle = scipy.stats.bernoulli.logpmf(x.numpy(), torch.sigmoid(logits).numpy()).sum(1)
    np.testing.assert_allclose(Bernoulli()(logits, (4,)).log_prob(x).numpy(), oracle, rtol=1e-12)
    raw, k = torch.randn(6, 12, dtype=F64), torch.randint(3, (6, 4))
    p = Categorical(3)(raw, (4,))
    table = torch.log_softmax(raw.reshape(6, 4, 3), -1)
    torch.testing.assert_close(
        p.log_prob(k), table.gather(-1, k[..., None])[..., 0].sum(-1), rtol=0, atol=1e-12
    )
    probs, index = table.exp(), torch.arange(3.0, dtype=F64)
    torch.testing.assert_close(p.mean, probs @ index)
    torch.testing.assert_close(p.variance, probs @ index**2 - (probs @ index) ** 2)


def test_a_scale_starts_at_one_and_never_falls_below_the_floor():
    head = Gaussian("network")
    assert float(head(torch.zeros(2), (1,)).stddev) == pytest.approx(1.0, abs=1e-6)
    assert float(head(torch.tensor([0.0, -1e4]), (1,)).stddev) == pytest.approx(FLOOR, abs=1e-9)
    assert math.log1p(math.exp(inverse_softplus(0.7))) == pytest.approx(0.7, abs=1e-14)


@pytest.mark.parametrize("sigma", [0.002, 0.5, 3.0, 1e4])
def test_writing_the_scale_is_the_inverse_of_reading_it(sigma):
    head = Gaussian().double().requires_grad_(False)
    before = head.raw_scale
    head.set_sigma(sigma)
    assert head.raw_scale is before and float(head.sigma) == pytest.approx(sigma, rel=1e-12)
    p = head(torch.zeros(3, dtype=F64), (3,))
    assert float(p.base_dist.stddev[0]) == pytest.approx(sigma, rel=1e-12)


def test_per_feature_scales_belong_to_their_features_whatever_the_shape():
    head = Gaussian("per_feature", features=6)
    head.set_sigma(torch.arange(1.0, 7.0))
    torch.testing.assert_close(head(torch.zeros(6), (2, 3)).stddev.flatten(), torch.arange(1.0, 7.0))


def test_gradients_reach_the_scale():
    for head in (Gaussian(), Gaussian("per_feature", features=3)):
        head(torch.zeros(5, 3), (3,)).log_prob(torch.randn(5, 3)).mean().backward()
        assert head.raw_scale.grad.abs().min() > 0 and head.raw_scale.dim() == 1


@pytest.mark.parametrize("head", HEADS, ids=lambda h: type(h).__name__)
def test_marginals_fit_independent_features(head):
    """The fitted marginals beat any shift of them, and match the sample moments where the head has both."""
    n, d = 4000, 12
    x = (
        torch.randint(5, (n, d)).double()
        if isinstance(head, Categorical)
        else 2.0 + 0.5 * torch.randn(n, d).double()
    )
    x = (x > 2).double() if isinstance(head, Bernoulli) else x
    raw = head.double().marginals(x)
    assert raw.shape == (d, head.parameters_per_feature)
    p = head(raw.flatten().expand(n, -1), (d,))
    assert (p.mean[0] - x.mean(0)).abs().max() < 0.02
    if isinstance(head, Gaussian) and head.mode == "network":
        torch.testing.assert_close(p.stddev[0], x.std(0), rtol=1e-9, atol=0)
    best = p.log_prob(x).mean()
    for shift in (-0.2, 0.2):
        other = raw + shift * torch.linspace(0, 1, head.parameters_per_feature + 1)[1:].double()
        if not isinstance(head, MixtureOfGaussians):
            assert head(other.flatten().expand(n, -1), (d,)).log_prob(x).mean() < best


def test_one_hot_codes():
    code = Categorical(3).encode(torch.tensor([[0.0, 2.0]]))
    assert torch.equal(code, torch.tensor([[1.0, 0, 0, 0, 0, 1.0]]))
    assert torch.equal(code, Categorical(3).encode(torch.tensor([[0, 2]])))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gaussian("shared"),
        lambda: Gaussian(0.0),
        lambda: Gaussian(float("inf")),
        lambda: Gaussian(floor=0.0),
        lambda: Gaussian("per_feature"),
        lambda: Categorical(1),
        lambda: MixtureOfGaussians(0),
        lambda: Gaussian(0.5).set_sigma(1.0),
        lambda: Gaussian().set_sigma(FLOOR),
        lambda: Gaussian("network").sigma,
    ],
)
def test_bad_options_are_refused(make):
    with pytest.raises(ArgumentError):
        make()


def test_a_network_of_the_wrong_width_is_refused():
    with pytest.raises(ShapeError, match="2 for each of 4 features"):
        Gaussian("network")(torch.zeros(3, 4), (4,))
    assert float(Gaussian(0.5).sigma) == 0.5
