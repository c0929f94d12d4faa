from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy import stats

from tests.diffusion_problems import gaussian_diffusion, mixture_diffusion
from unigen.dynamics.schedule import LogLinearSNR, VPCosine
from unigen.errors import ArgumentError
from unigen.models.diffusion import Diffusion
from unigen.samplers.probability_flow import ProbabilityFlowODE


@pytest.mark.parametrize("schedule", [LogLinearSNR(), VPCosine()], ids=repr)
def test_the_flow_of_gaussian_data_is_linear(schedule):
    """z_start = alpha m + (z_1 − alpha_1 m) std_start / std_1, all in closed form."""
    mean, std = 0.7, 2.0
    program = gaussian_diffusion(schedule, mean, std)
    z = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    alpha, sigma = schedule.alpha(ends), schedule.sigma(ends)
    spread = torch.sqrt(alpha**2 * std**2 + sigma**2)
    expected = (alpha[0] * mean + (z - alpha[1] * mean) * spread[0] / spread[1]) / alpha[0]
    x = ProbabilityFlowODE(1e-9, 1e-9).push(program, z)
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-7)


def test_draws_of_a_mixture_follow_its_distribution_function():
    n, std = 20_000, 0.35
    schedule = LogLinearSNR(1e6, 1e-6)
    program = mixture_diffusion(schedule, torch.tensor([[-2.0], [2.0]]), std)
    x = program.sample(n, sampler=ProbabilityFlowODE(1e-6, 1e-6)).flatten().numpy()

    def cdf(v):
        return 0.5 * (stats.norm.cdf(v, -2, std) + stats.norm.cdf(v, 2, std))

    assert stats.kstest(x, cdf).pvalue > 1e-7  # sees a shift of the distribution function of 0.02


def test_equal_noise_gives_equal_draws_and_gradients_pass():
    program = Diffusion(3, hidden=8, blocks=1).double()
    z = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    sampler = ProbabilityFlowODE(method="rk4", options={"step_size": 0.1})
    one = sampler.push(program, z)
    assert torch.equal(one, sampler.push(program, z))
    assert torch.autograd.gradcheck(lambda y: sampler.push(program, y), z)
    assert math.isfinite(float(one.detach().sum()))


def flow_of_gaussian(times, z, std=0.5, schedule=LogLinearSNR()):
    """States of the exact flow of N(0, std²) data: noise scaled by √(alpha² std² + sigma²)."""
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    spread = torch.sqrt(alpha**2 * std**2 + sigma**2)
    return (spread / spread[0]).reshape(-1, 1, 1) * z


def test_a_trajectory_is_the_flow_of_its_start():
    program, sampler = gaussian_diffusion(LogLinearSNR(), std=0.5, dims=2), ProbabilityFlowODE(1e-8, 1e-8)
    path = sampler.trajectory(program, 5, seed=2)
    assert path.states.shape == (11, 5, 2)
    torch.testing.assert_close(
        path.states, flow_of_gaussian(path.times, path.states[0]), rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(path.draws, program.sample(5, sampler=sampler, seed=2), rtol=1e-6, atol=1e-6)
    few = sampler.trajectory(program, 5, seed=2, times=[1.0, 0.4, 0.0])
    torch.testing.assert_close(few.states[-1], path.states[-1], rtol=1e-6, atol=1e-6)
    with pytest.raises(ArgumentError, match="fall from 1"):
        sampler.trajectory(program, 5, times=[0.9, 0.0])


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("heun2", 2), ("rk4", 4)])
def test_the_order_of_fixed_steps(method, order):
    schedule = LogLinearSNR(1e2, 1e-2)
    program, z = gaussian_diffusion(schedule, std=0.5), torch.randn(16, 1, dtype=torch.float64)
    ends = torch.tensor([1.0, 0.0], dtype=torch.float64)
    exact = flow_of_gaussian(ends, z, schedule=schedule)[-1] / schedule.alpha(ends[1])
    errors = []
    for steps in (128, 256, 512):
        sampler = ProbabilityFlowODE(method=method, options={"step_size": 1.0 / steps})
        errors.append(float((sampler.push(program, z).detach() - exact).abs().max()))
    halvings = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert sum(halvings) / 2 == pytest.approx(order, abs=0.1)
