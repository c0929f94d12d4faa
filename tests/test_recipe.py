"""Learning-rate schedule and the defaults of fit."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from unigen.recipe import Cosine, Recipe


def rates(schedule: Cosine, steps: int, lr: float = 0.1) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = schedule(optimizer, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_cosine_equals_torchs_own():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50, eta_min=0.02)
    expected = []
    for _ in range(50):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates(Cosine(final=0.2), 50) == pytest.approx(expected)


def test_warm_up_is_linear_then_the_cosine_starts_at_the_top():
    found = rates(Cosine(warmup=4), 20)
    assert found[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    expected = [0.05 * (1 + math.cos(math.pi * k / 16)) for k in range(16)]
    assert found[4:] == pytest.approx(expected)


@pytest.mark.parametrize("steps", [1, 3, 4, 5])
def test_short_runs_never_leave_the_interval(steps):
    assert all(0 < rate <= 0.1 + 1e-12 for rate in rates(Cosine(warmup=4), steps))


def test_a_recipe_is_an_immutable_value():
    recipe = Recipe(steps=5)
    assert recipe == Recipe(steps=5) != Recipe()
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.steps = 6
