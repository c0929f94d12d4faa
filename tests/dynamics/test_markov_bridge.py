"""The process of two networks, against the exact drift where the conditional means are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from unigen.dynamics.markov_bridge import MarkovBridge
from unigen.dynamics.reference import BrownianMotion, OrnsteinUhlenbeck, Reference
from unigen.nn.affine_in_time import AffineInTime


class Point(nn.Module):
    """Predicts one point, whatever the state."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        assert t.shape == x.shape[:1]
        return torch.full_like(x, self.value)


@pytest.mark.parametrize("reference", [BrownianMotion(0.6), OrnsteinUhlenbeck(0.8, 0.6)], ids=repr)
@pytest.mark.parametrize("end", [0, 1])
def test_a_point_as_the_end_is_reached_through_its_bridge(reference: Reference, end: int):
    """The last step lands on the point, with the noise of one step: variance sigma² / steps."""
    n, steps = 20_000, 50
    bridge = MarkovBridge(1, reference, Point(2.0), Point(2.0)).double()
    bridge.standardise(
        torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [2.0]])
    )  # unit 1, origin 1: ends at 3
    x = bridge.simulate(torch.zeros(n, 1, dtype=torch.float64), end, steps)
    v = 0.36 / steps
    assert abs(x.mean().item() - 3.0) < 5 * math.sqrt(v / n) + reference.rate * 4 / steps
    assert abs(x.var().item() / v - 1) < 5 * math.sqrt(2 / n) + 3 * reference.rate / steps


def test_units_are_those_of_the_mixture_of_independent_ends():
    n = 50_000
    x_0, x_1 = torch.randn(n, 1) * 2 + 1, torch.randn(n, 1) * 0.5 - 3
    bridge = MarkovBridge(1, BrownianMotion(0.9), Point(0.0), Point(0.0))
    bridge.standardise(x_0, x_1)
    t = torch.full((n,), 0.3)
    u = bridge.unit_state(bridge.between(x_0, x_1, t), t)
    assert abs(u.mean().item()) < 5 / math.sqrt(n) and abs(u.std().item() - 1) < 5 / math.sqrt(2 * n)
    assert bridge.predict(x_0, t, 1)[0].item() == pytest.approx(-3, abs=0.02)  # zero is the mean of the end


def test_solved_networks_are_conditional_means():
    """Independent Gaussian ends: E[x_1 | x_t] = m_1 + Cov(x_1, x_t) / Var x_t (x_t − m_t)."""
    n, sigma = 100_000, 0.7
    x_0, x_1 = torch.randn(n, 1, dtype=torch.float64), 1.5 * torch.randn(n, 1, dtype=torch.float64) + 2
    bridge = MarkovBridge(1, BrownianMotion(sigma), AffineInTime(1), AffineInTime(1)).double()
    bridge.standardise(x_0, x_1)
    for end in (0, 1):
        bridge.solve(x_0, x_1, torch.rand(n, dtype=torch.float64), end)
    x = torch.tensor([[0.5]], dtype=torch.float64)
    for s in (0.2, 0.5, 0.8):
        v = (1 - s) ** 2 + s**2 * 2.25 + sigma**2 * s * (1 - s)
        t = torch.tensor(s, dtype=torch.float64)
        gain = (x - 2 * s) / v
        assert bridge.predict(x, t, 1).item() == pytest.approx((2 + 2.25 * s * gain).item(), abs=0.05)
        assert bridge.predict(x, t, 0).item() == pytest.approx(((1 - s) * gain).item(), abs=0.05)
    assert bridge.solvable and not MarkovBridge(1, BrownianMotion(), Point(0.0), AffineInTime(1)).solvable
