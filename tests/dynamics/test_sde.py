"""Oracles: Gaussian marginals, the exact recursion of Euler's method on Gaussian data, a mixture's density."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from unigen.dynamics.divergence import ExactDivergence
from unigen.dynamics.schedule import LogLinearSNR, VPCosine, VPLinear
from unigen.dynamics.sde import Dynamics, ForwardSDE, ProbabilityFlow, ReverseSDE
from unigen.dynamics.solvers import integrate_ode, integrate_sde
from unigen.errors import ArgumentError

MEAN, STD = 1.5, 0.6


def gaussian_score(schedule, mean=MEAN, std=STD):
    """Score of p_t for N(mean, std²) data."""

    def score(t, x):
        variance = schedule.alpha(t) ** 2 * std**2 + schedule.sigma(t) ** 2
        return -(x - schedule.alpha(t) * mean) / variance

    return score


def euler_moments(schedule, times, noise, mean, variance):
    """Mean and variance of Euler's method on the reversed SDE for Gaussian data: an exact affine recursion."""
    for t, ahead in itertools.pairwise(times):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        f, g2, h = schedule.drift_coefficient(t), schedule.diffusion_squared(t), ahead - t
        spread = alpha**2 * STD**2 + sigma**2
        slope = 1 + h * (f + 0.5 * (1 + noise**2) * g2 / spread)
        shift = -h * 0.5 * (1 + noise**2) * g2 * alpha * MEAN / spread
        mean, variance = slope * mean + shift, slope**2 * variance + noise**2 * g2 * abs(h)
    return mean, variance


def mixture_score(schedule):
    """Score of p_t for ½N(±2, .35²) data."""

    def score(t, x):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        variance = alpha**2 * 0.35**2 + sigma**2
        return (2 * alpha * torch.tanh(2 * alpha * x / variance) - x) / variance

    return score


def mixture_log_prob(x, alpha=1.0, sigma=0.0):
    """Log density of p_t, (N,)."""
    spread = math.sqrt(alpha**2 * 0.35**2 + sigma**2)
    parts = [torch.distributions.Normal(sign * 2 * alpha, spread).log_prob(x) for sign in (-1, 1)]
    return torch.logaddexp(*parts).squeeze(-1) - math.log(2)


@pytest.mark.parametrize("schedule", [VPLinear(), VPCosine(), LogLinearSNR()], ids=repr)
def test_forward_sde_reaches_its_marginal(schedule):
    n, x_0 = 40_000, 0.8
    forward = ForwardSDE(schedule)
    times = torch.linspace(0.0, 0.6, 401, dtype=torch.float64) ** 1.5  # fine where the noise is small
    end = integrate_sde(forward.drift, forward.diffusion, torch.full((n, 1), x_0, dtype=torch.float64), times)
    mean, std = forward.marginal(torch.tensor([[x_0]], dtype=torch.float64), times[-1])
    start = (
        schedule.sigma(0.0).double() ** 2 * (schedule.alpha(times[-1]) / schedule.alpha(0.0).double()) ** 2
    )
    variance, bias = std**2 - start, 0.01  # the path starts without the noise of t = 0
    assert abs(float(end.mean() - mean / schedule.alpha(0.0))) < 5 * float(std) / math.sqrt(n) + bias
    assert abs(float(end.var() / variance - 1)) < 5 * math.sqrt(2 / n) + bias


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0, 2.0])
def test_gaussian_data_follow_the_exact_recursion(noise):
    schedule, n = VPLinear(), 100_000
    reverse = ReverseSDE(ForwardSDE(schedule), gaussian_score(schedule), noise)
    times = torch.linspace(1.0, 1e-3, 41, dtype=torch.float64)
    end = integrate_sde(reverse.drift, reverse.diffusion, torch.randn(n, 1, dtype=torch.float64), times)
    mean, variance = euler_moments(schedule, times, noise, torch.tensor(0.0), torch.tensor(1.0))
    assert abs(float((end.mean() - mean) / (variance / n) ** 0.5)) < 5
    assert abs(float(end.var() / variance - 1)) < 5 * math.sqrt(2 / n)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_the_error_of_the_marginal_is_of_first_order(noise):
    schedule = VPLinear()
    t_end, errors, steps = 1e-3, [], [200, 400, 800, 1600]
    alpha, sigma = schedule.alpha(t_end).double(), schedule.sigma(t_end).double()
    start = schedule.alpha(1.0).double() ** 2 * STD**2 + schedule.sigma(1.0).double() ** 2
    for count in steps:
        times = torch.linspace(1.0, t_end, count + 1, dtype=torch.float64)
        _, variance = euler_moments(schedule, times, noise, schedule.alpha(1.0) * MEAN, start)
        errors.append(abs(float(variance - (alpha**2 * STD**2 + sigma**2))))
    order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order == pytest.approx(1.0, abs=0.1)


def test_probability_flow_is_the_reversal_without_noise():
    schedule, x = LogLinearSNR(), torch.randn(5, 3)
    score = gaussian_score(schedule)
    flow, reverse = (
        kind(ForwardSDE(schedule), score) for kind in (ProbabilityFlow, lambda d, s: ReverseSDE(d, s, 0.0))
    )
    t = torch.tensor(0.4)
    torch.testing.assert_close(flow.drift(t, x), reverse.drift(t, x))
    assert float(flow.diffusion(t, x)) == 0.0 == float(reverse.diffusion(t, x))


def test_a_table_of_coefficients_changes_nothing():
    schedule, x = VPCosine(), torch.randn(5, 3)
    times = torch.linspace(1.0, 0.0, 11)
    plain, table = ForwardSDE(schedule), ForwardSDE(schedule).on_grid(times)
    for t in (times[3], torch.tensor(0.123), torch.rand(5)):
        torch.testing.assert_close(table.drift(t, x), plain.drift(t, x))
        torch.testing.assert_close(torch.as_tensor(table.diffusion(t, x)), plain.diffusion(t, x))
        score = gaussian_score(schedule)
        if t.dim() == 0:
            fast, slow = ReverseSDE(table, score), ReverseSDE(plain, score)
            torch.testing.assert_close(fast.drift(t, x), slow.drift(t, x))


def test_a_table_refuses_times_outside():
    with pytest.raises(ArgumentError, match="unit interval"):
        ForwardSDE(VPLinear()).on_grid(torch.linspace(1.2, 0.0, 5))


def test_negative_noise_is_refused():
    with pytest.raises(ArgumentError, match="noise"):
        ReverseSDE(ForwardSDE(VPLinear()), gaussian_score(VPLinear()), -1.0)


def log_prob_by_flow(x, schedule, tolerance=1e-9):
    """Log density of the data by the change of variables along the probability flow, and where the flow ends."""
    flow = ProbabilityFlow(ForwardSDE(schedule), mixture_score(schedule))
    exact = ExactDivergence()

    def rates(t, state):
        velocity, terms = exact.terms(lambda y: flow.drift(t, y), state[0], exact.vectors(x))
        return velocity, terms[:, 0]

    solution = integrate_ode(rates, (x, x.new_zeros(x.shape[0])), 0.0, 1.0, tolerance, tolerance)
    return solution.value


def test_theorem_11_density_of_a_mixture_by_probability_flow():
    schedule = VPLinear(0.1, 20.0)
    x = torch.tensor([[0.0], [2.3]], dtype=torch.float64)
    end, volume = log_prob_by_flow(x, schedule)
    alpha, sigma = float(schedule.alpha(1.0)), float(schedule.sigma(1.0))
    log_prob = mixture_log_prob(end, alpha, sigma) + volume
    expected = torch.tensor([-16.195647, -0.929611], dtype=torch.float64)
    torch.testing.assert_close(log_prob, expected, rtol=0, atol=2e-6)
    torch.testing.assert_close(log_prob, mixture_log_prob(x), rtol=0, atol=1e-6)
    mismatch = torch.distributions.Normal(0.0, 1.0).log_prob(end).squeeze(1) - mixture_log_prob(
        end, alpha, sigma
    )
    assert 1e-7 < float(mismatch.abs().max()) < 2e-3  # what a standard normal prior adds, reported apart


def test_dynamics_is_open_to_other_drifts():
    class Still(Dynamics):
        def drift(self, t, x):
            return torch.zeros_like(x)

        def diffusion(self, t, x):
            return torch.ones_like(x)

    still = Still(VPLinear())
    end = integrate_sde(still.drift, still.diffusion, torch.zeros(50_000, 1), torch.linspace(0, 1, 5))
    assert abs(float(end.var()) - 1) < 5 * math.sqrt(2 / 50_000)
