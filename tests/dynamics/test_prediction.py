from __future__ import annotations

import itertools

import pytest
import torch

from unigen.dynamics.prediction import X0, Eps, Score, V, Velocity, convert, over_events
from unigen.dynamics.schedule import LogLinearSNR, VPCosine, VPLinear

ALL = [X0(), Eps(), V(), Score(), Velocity()]
SCHEDULES = [VPLinear(), VPCosine(1e4, 1e-4), LogLinearSNR()]


def example(schedule, event=(3,)):
    t = torch.linspace(0.05, 0.95, 16, dtype=torch.float64)
    x0, eps = torch.randn(2, 16, *event, dtype=torch.float64)
    s = over_events(t, x0)
    return x0, eps, schedule.alpha(s) * x0 + schedule.sigma(s) * eps, t


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize(("source", "target"), list(itertools.product(ALL, ALL)), ids=repr)
def test_every_conversion_gives_the_quantity_itself(schedule, source, target):
    x0, eps, x_t, t = example(schedule)
    given, wanted = source.value(x0, eps, t, schedule), target.value(x0, eps, t, schedule)
    torch.testing.assert_close(convert(given, source, target, x_t, t, schedule), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_quantities_follow_their_definitions(schedule):
    x0, eps, x_t, t = example(schedule, event=(2, 2))
    alpha, sigma = schedule.alpha(t).reshape(-1, 1, 1), schedule.sigma(t).reshape(-1, 1, 1)
    torch.testing.assert_close(V().value(x0, eps, t, schedule), alpha * eps - sigma * x0)
    conditional = torch.distributions.Normal(alpha * x0, sigma)
    x_t = x_t.requires_grad_(True)
    score = torch.autograd.grad(conditional.log_prob(x_t).sum(), x_t)[0]
    torch.testing.assert_close(Score().value(x0, eps, t, schedule), score)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_velocity_is_the_time_derivative_and_the_flow_of_the_score(schedule):
    x0, eps, x_t, t = example(schedule)
    step = 1e-6
    ahead, behind = (
        schedule.alpha(t + d).unsqueeze(1) * x0 + schedule.sigma(t + d).unsqueeze(1) * eps
        for d in (step, -step)
    )
    velocity = Velocity().value(x0, eps, t, schedule)
    torch.testing.assert_close(velocity, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-6)
    f, g2 = schedule.drift_coefficient(t).unsqueeze(1), schedule.diffusion_squared(t).unsqueeze(1)
    flow = f * x_t - 0.5 * g2 * Score().value(x0, eps, t, schedule)
    torch.testing.assert_close(velocity, flow, rtol=1e-9, atol=1e-9)


def test_one_time_serves_the_whole_batch():
    x_t = torch.randn(4, 2, 3)
    one = convert(torch.ones_like(x_t), V(), X0(), x_t, 0.3, VPLinear())
    many = convert(torch.ones_like(x_t), V(), X0(), x_t, torch.full((4,), 0.3), VPLinear())
    torch.testing.assert_close(one, many)
