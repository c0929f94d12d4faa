from __future__ import annotations

import math

import pytest
import torch

from unigen.dynamics.brownian import FreshIncrements
from unigen.errors import ArgumentError


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_increments_are_normal_with_the_variance_of_the_interval(dtype):
    count, length = 400_000, 0.37
    increments = FreshIncrements((count // 4, 4), dtype)(torch.tensor(0.5), torch.tensor(0.5 + length))
    assert increments.dtype == dtype
    assert increments.shape == (count // 4, 4)
    z_mean = float(increments.mean()) / math.sqrt(length / count)
    z_variance = (float(increments.double().var()) / length - 1) / math.sqrt(2 / count)
    assert abs(z_mean) < 5
    assert abs(z_variance) < 5


def test_consecutive_increments_are_independent():
    motion = FreshIncrements((200_000, 1))
    first, second = motion(0.0, 1.0), motion(1.0, 2.0)
    correlation = float((first * second).mean())
    assert abs(correlation) * math.sqrt(200_000) < 5


def test_a_seed_reproduces_and_generators_are_private():
    draws = []
    for _ in range(2):
        torch.manual_seed(7)
        draws.append(FreshIncrements((3, 2))(0.0, 1.0))
    assert torch.equal(*draws)
    state = torch.get_rng_state()
    own = [FreshIncrements((3, 2), generator=torch.Generator().manual_seed(3))(0.0, 1.0) for _ in range(2)]
    assert torch.equal(*own)
    assert torch.equal(state, torch.get_rng_state())


def test_the_past_is_refused():
    motion = FreshIncrements((3, 2))
    motion(0.0, 1.0)
    with pytest.raises(ArgumentError, match="already drawn"):
        motion(0.5, 1.5)
    with pytest.raises(ArgumentError, match="already drawn"):
        motion(2.0, 1.5)


def test_areas_and_integer_types_are_refused():
    with pytest.raises(ArgumentError, match="BrownianInterval"):
        FreshIncrements((3, 2))(0.0, 1.0, return_U=True)
    with pytest.raises(ArgumentError, match="floating"):
        FreshIncrements((3, 2), torch.int64)


@pytest.mark.device
def test_increments_are_drawn_on_the_device():
    assert FreshIncrements((3, 2), device="cuda")(0.0, 1.0).device.type == "cuda"
