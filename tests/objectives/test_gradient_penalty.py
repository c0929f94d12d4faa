from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError
from unigen.nn.critic import Critic
from unigen.objectives.gradient_penalty import check_r1, r1_penalty, slope_penalty


class Square(nn.Module):
    """‖x‖², whose slope at x is 2‖x‖."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square().sum(1, keepdim=True)


def test_r1_is_half_the_mean_squared_slope_on_data() -> None:
    x = torch.randn(40, 3).double()
    found = float(r1_penalty(Critic(3, net=Square()), x, None, 0.7).detach())
    assert found == pytest.approx(0.35 * 4 * float(x.square().sum(1).mean()))


def test_the_slope_penalty_is_an_average_over_the_segment() -> None:
    """Between 0 and 1 the slope of x² is 2u: E (2u − 1)₊² = 1/6 and E (2u − 1)² = 1/3, u uniform."""
    n = 40_000
    x, y = torch.ones(n, 1).double(), torch.zeros(n, 1).double()
    critic = Critic(1, net=Square())
    one = float(slope_penalty(critic, x, y, None, 3.0, False).detach())
    two = float(slope_penalty(critic, x, y, None, 3.0, True).detach())
    assert abs(one - 0.5) < 5 * 3 * math.sqrt(0.1 - 1 / 36) / math.sqrt(n)
    assert abs(two - 1.0) < 5 * 3 * math.sqrt(0.2 - 1 / 9) / math.sqrt(n)


def test_a_negative_weight_is_refused() -> None:
    assert check_r1(0.0, "Hinge") == 0.0
    for bad in (-1.0, math.nan):
        with pytest.raises(ArgumentError, match="Hinge"):
            check_r1(bad, "Hinge")
