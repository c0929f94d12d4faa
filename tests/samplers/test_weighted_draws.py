"""Draws with weights by importance sampling of a conjugate Gaussian: moments, evidence, resampling, counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from unigen.dynamics.particles import Particles
from unigen.errors import NonFiniteError
from unigen.logprob import Kind, LogProb
from unigen.samplers.weighted_draws import WeightedDraws

F64, K, Y = torch.float64, 4000, 1.5


def posterior(k: int = K) -> WeightedDraws:
    """x ~ N(0, 1) weighed by y | x ~ N(x, 1): x | y ~ N(y/2, ½), y ~ N(0, 2)."""
    x = torch.randn(k, 1, dtype=F64)
    particles = Particles(k, x)
    particles.weigh(Normal(x[:, 0], 1.0).log_prob(torch.tensor(Y, dtype=F64)))
    return WeightedDraws.of(x, particles)


def given(weights: list[float]) -> WeightedDraws:
    log_w = torch.tensor(weights, dtype=F64).log()
    evidence = LogProb(torch.zeros(1), Kind.ESTIMATE, torch.zeros(1))
    return WeightedDraws(torch.arange(float(len(weights)))[:, None], log_w, evidence, torch.ones(1), 0)


def test_expectations_are_those_of_the_posterior():
    found = posterior()
    w = found.log_weights.exp()
    assert float(w.sum()) == pytest.approx(1.0, abs=1e-12)
    for values, truth in ((found.draws, Y / 2), ((found.draws - Y / 2) ** 2, 0.5)):
        mean = found.expect(values)
        np.testing.assert_allclose(
            mean.numpy(), np.average(values.numpy(), axis=0, weights=w.numpy()), rtol=1e-12
        )
        error = float((w[:, None] ** 2 * (values - mean) ** 2).sum().sqrt())
        assert abs(float(mean) - truth) < 5 * error


def test_the_evidence_is_that_of_the_observation():
    found = posterior()
    truth = float(Normal(0.0, 2**0.5).log_prob(torch.tensor(Y)))
    evidence = found.log_evidence
    assert evidence.kind is Kind.ESTIMATE and evidence.value.shape == (1,) and evidence.stderr is not None
    assert abs(float(evidence.value) - truth) < 5 * float(evidence.stderr) < 0.1
    assert found.ess.shape == (1,) and found.resampled == 0
    assert float(found.ess[0]) == pytest.approx(1 / float(found.log_weights.exp().square().sum()))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_values_of_any_shape_have_expectations(shape):
    found, values = given([0.5, 0.2, 0.3]), torch.randn(3, *shape)
    by_hand = 0.5 * values[0] + 0.2 * values[1] + 0.3 * values[2]
    torch.testing.assert_close(found.expect(values), by_hand)
    assert found.expect(values).dtype is torch.float32


@pytest.mark.parametrize("n", [1, 10, 1000])
def test_resampling_gives_each_draw_its_share_up_or_down(n):
    weights = [0.05, 0.4, 0.0, 0.35, 0.2]
    counts = torch.stack(
        [torch.bincount(given(weights).resample(n)[:, 0].long(), minlength=5) for _ in range(300)]
    )
    wanted = n * torch.tensor(weights)
    assert bool((counts.sum(1) == n).all()) and int(counts[:, 2].sum()) == 0
    assert bool(((counts >= (wanted - 1e-4).floor()) & (counts <= (wanted + 1e-4).ceil())).all())
    z = (counts.double().mean(0) - wanted) / (0.25 / 300) ** 0.5
    assert float(z.abs().max()) < 5


def test_the_order_of_resampled_draws_says_nothing():
    """The first of two half-and-half draws is either with probability ½; sorted it would always be the first."""
    found, n = given([0.5, 0.5]), 1000
    first = torch.stack([found.resample(4)[0, 0] for _ in range(n)])
    assert abs(float(first.mean()) - 0.5) < 5 * math.sqrt(0.25 / n)


def test_weights_keep_the_type_of_the_draws_and_are_collected_after_resampling():
    x: Tensor = torch.randn(8, 2)
    particles = Particles(8, x)
    particles.weigh(torch.randn(8))
    ancestors = particles.resample()
    assert ancestors is not None
    particles.weigh(torch.zeros(8))
    found = WeightedDraws.of(x[ancestors], particles)
    assert found.log_weights.dtype is torch.float32 and found.resampled == 1 and found.ess.shape == (2,)
    torch.testing.assert_close(found.log_weights, torch.full((8,), -math.log(8)))


def test_it_says_how_many_draws_it_is_worth():
    text = repr(given([0.5, 0.5, 0.0]))
    assert text.startswith("WeightedDraws(n=3, ess=2, lowest ess=1, log p(y) = ")


def test_weights_of_which_none_is_finite_are_refused():
    with pytest.raises(NonFiniteError, match="finite weight"):
        Particles(3, torch.zeros(3)).weigh(torch.full((3,), -math.inf))
