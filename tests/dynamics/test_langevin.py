from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unigen.dynamics.langevin import check_langevin, energy_and_gradient, langevin, metropolis_langevin
from unigen.errors import ArgumentError

CHAINS = 100_000


def quadratic(x: Tensor) -> Tensor:
    return 0.5 * x.square().sum(-1)


def double_well(x: Tensor) -> Tensor:
    return 0.25 * (x.square() - 1).square().sum(-1)


def z_of_variance(x: Tensor, variance: float) -> float:
    """Return how many standard errors the sample variance of Gaussian draws lies from the truth."""
    return float((x.var() - variance) / (variance * math.sqrt(2 / x.numel())))


def test_the_unadjusted_chain_has_the_variance_of_its_recursion_and_of_theorem_25() -> None:
    h, steps, variance = 0.1, 60, 0.0
    x = langevin(quadratic, torch.zeros(CHAINS, 1, dtype=torch.float64), steps=steps, step_size=h)
    for _ in range(steps):
        variance = (1 - h) ** 2 * variance + 2 * h
    assert abs(variance - 1.052632) < 1e-4  # 1 / (1 − h/2), up to what 60 steps leave
    assert abs(z_of_variance(x, variance)) < 5
    assert abs(float(x.mean()) / math.sqrt(variance / CHAINS)) < 5


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_a_temperature_scales_the_variance(temperature: float) -> None:
    x = langevin(quadratic, torch.zeros(CHAINS, 1), steps=60, step_size=0.1, temperature=temperature)
    assert abs(z_of_variance(x, temperature / 0.95)) < 5


def test_the_adjusted_chain_leaves_the_density_invariant_at_a_large_step() -> None:
    x, accepted = metropolis_langevin(quadratic, torch.randn(CHAINS, 1), steps=20, step_size=0.8)
    assert abs(z_of_variance(x, 1.0)) < 5  # unadjusted: 1 / (1 − 0.4) = 1.67
    assert 0.3 < float(accepted.mean()) < 0.95


def test_the_adjusted_chain_reaches_the_moments_of_the_double_well() -> None:
    start = torch.randn(40_000, 1)
    x, _ = metropolis_langevin(double_well, start, steps=150, step_size=0.1, temperature=0.3)
    square = x.square()
    error = float(square.std()) / math.sqrt(x.numel())
    assert abs(float(square.mean()) - 0.840546) < 5 * error
    fourth = x.pow(4)
    assert abs(float(fourth.mean()) - 1.140546) < 5 * float(fourth.std()) / math.sqrt(x.numel())


def test_the_temperature_of_the_adjusted_chain_is_that_of_its_target() -> None:
    start = math.sqrt(3.0) * torch.randn(CHAINS, 1)
    x, _ = metropolis_langevin(quadratic, start, steps=20, step_size=0.5, temperature=3.0)
    assert abs(z_of_variance(x, 3.0)) < 5


def test_chains_are_independent_of_one_another_and_of_their_number_of_dimensions() -> None:
    x = langevin(lambda x: 0.5 * x.square().flatten(1).sum(1), torch.zeros(2, 3, 4), steps=3, step_size=0.1)
    assert x.shape == (2, 3, 4)
    many = langevin(quadratic, torch.zeros(50_000, 2), steps=30, step_size=0.1)
    correlation = float((many[:, 0] * many[:, 1]).mean())
    assert abs(correlation) < 5 * 1.05 / math.sqrt(50_000)


def test_nothing_is_left_for_gradients_and_the_start_is_not_changed() -> None:
    start = torch.zeros(4, 1, requires_grad=True)
    with torch.no_grad():
        value, gradient = energy_and_gradient(lambda x: (x - 3).square().sum(-1), start)
    torch.testing.assert_close(value, torch.full((4,), 9.0))
    torch.testing.assert_close(gradient, torch.full((4, 1), -6.0))
    assert not langevin(quadratic, start, steps=2, step_size=0.1).requires_grad
    assert start.grad is None and not bool(start.any())


def test_a_proposal_without_finite_energy_is_refused() -> None:
    def wall(x: Tensor) -> Tensor:
        return torch.where(x.squeeze(-1) > 0, 0.5 * x.square().sum(-1), torch.nan * x.squeeze(-1))

    x, _ = metropolis_langevin(wall, torch.rand(2000, 1) + 0.1, steps=30, step_size=0.3)
    assert bool((x > 0).all())


@pytest.mark.parametrize(
    "bad", [(-1, 0.1, 1.0), (1.5, 0.1, 1.0), (3, 0.0, 1.0), (3, float("nan"), 1.0), (3, 0.1, 0.0)]
)
def test_settings_without_meaning_are_refused(bad: tuple) -> None:
    with pytest.raises(ArgumentError, match="got"):
        check_langevin(*bad)
