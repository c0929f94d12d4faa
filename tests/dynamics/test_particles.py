from __future__ import annotations

import math

import pytest
import torch

from unigen.dynamics.particles import Particles, check_particles, effective_size, largest_rise, systematic
from unigen.errors import ArgumentError, NonFiniteError


def test_the_effective_size_is_the_inverse_sum_of_squares():
    log_w = torch.randn(50).double()
    weights = torch.softmax(log_w, 0)
    assert effective_size(log_w) == pytest.approx(float(1.0 / weights.square().sum()))
    assert effective_size(torch.full((7,), -1e4)) == pytest.approx(7.0)


@pytest.mark.parametrize("n", [3, 10, 1000])
def test_systematic_counts_are_expected_ones_up_or_down(n):
    log_w = torch.randn(10).double()
    wanted = n * torch.softmax(log_w, 0)
    counts = torch.stack([torch.bincount(systematic(log_w, n), minlength=10) for _ in range(2000)]).double()
    assert bool((counts.sum(1) == n).all())
    assert bool(((counts >= wanted.floor()) & (counts <= wanted.ceil())).all())
    error = (counts.mean(0) - wanted) / (0.25 / 2000) ** 0.5  # a count is one of two: variance at most 1/4
    assert float(error.abs().max()) < 5.0


def test_weights_go_where_they_should_and_log_z_is_kept():
    """Two weighings with a resampling between: log Z is the sum of the logs of the mean weights."""
    particles = Particles(4, torch.zeros(4))
    first = torch.log(torch.tensor([4.0, 2.0, 1.0, 1.0]).double())
    assert particles.weigh(first) == pytest.approx(64.0 / 22.0)
    assert particles.resample(0.5) is None
    assert particles.resample(0.9) is not None
    particles.weigh(torch.full((4,), math.log(3.0)).double())
    assert particles.ess[-1] == pytest.approx(4.0)
    assert particles.resampled == 1
    value, _ = particles.log_normaliser()
    assert float(value) == pytest.approx(math.log(8.0 / 4.0) + math.log(3.0))


def test_without_resampling_the_error_is_that_of_the_delta_method():
    particles, log_w = Particles(200, torch.zeros(())), torch.randn(200).double()
    particles.weigh(log_w)
    w = log_w.exp()
    wanted = w.std(correction=0) / w.mean() / math.sqrt(200)
    torch.testing.assert_close(particles.log_normaliser()[1][0], wanted)


def test_with_resampling_the_error_is_seen_in_repetitions():
    """A random walk of four steps under N(0, 1) likelihoods: the mean of stderr² against the variance of log Z."""
    values, squares, runs, k = [], [], 400, 200
    for _ in range(runs):
        particles, x = Particles(k, torch.zeros(())), torch.zeros(k).double()
        for _ in range(4):
            x = x + torch.randn(k).double()
            particles.weigh(-0.5 * (x - 1.0).square())
            ancestors = particles.resample(0.7)
            x = x if ancestors is None else x[ancestors]
        value, stderr = particles.log_normaliser()
        values.append(value)
        squares.append(stderr.square())
    ratio = float(torch.cat(squares).mean() / torch.cat(values).var())
    assert 0.7 < ratio < 1.5


def test_log_z_is_unbiased():
    """E Z of the walk above is that of four dependent normals, by the Kalman filter."""
    runs, k, estimates = 600, 100, []
    for _ in range(runs):
        particles, x = Particles(k, torch.zeros(())), torch.zeros(k).double()
        for _ in range(4):
            x = x + torch.randn(k).double()
            particles.weigh(-0.5 * (x - 1.0).square())
            ancestors = particles.resample(0.7)
            x = x if ancestors is None else x[ancestors]
        estimates.append(particles.log_normaliser()[0].exp())
    mean, variance, log_z = 0.0, 0.0, 0.0
    for _ in range(4):
        variance += 1.0
        log_z += -0.5 * (1.0 - mean) ** 2 / (variance + 1.0) - 0.5 * math.log(variance + 1.0)
        mean, variance = mean + variance / (variance + 1.0) * (1.0 - mean), variance / (variance + 1.0)
    z = torch.cat(estimates)
    assert abs(float((z.mean() - math.exp(log_z)) / (z.std() / runs**0.5))) < 5.0


def test_hopeless_weights_are_said():
    with pytest.raises(NonFiniteError, match="finite weight"):
        Particles(3, torch.zeros(())).weigh(torch.full((3,), -math.inf))
    particles = Particles(3, torch.zeros(()))
    assert particles.weigh(torch.tensor([0.0, math.nan, 0.0])) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("count", "threshold"), [(1, 0.5), (True, 0.5), (2.0, 0.5), (4, -0.1), (4, math.nan)]
)
def test_settings_are_checked(count, threshold):
    with pytest.raises(ArgumentError, match=r"particles|threshold"):
        check_particles("Some", count, threshold)


def test_the_rise_leaves_the_share_asked_for():
    log_ratio = 10 * torch.randn(1000)
    rise = largest_rise(log_ratio, 1.0, 0.5)
    assert abs(effective_size(rise * log_ratio) - 500) < 1
    assert largest_rise(torch.zeros(10), 0.3, 0.5) == 0.3
