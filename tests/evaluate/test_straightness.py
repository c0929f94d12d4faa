"""Oracles: Gaussian trajectories in closed form, a constant velocity."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.interpolant_problems import mixture_flow
from unigen.dynamics.interpolant import Linear, Trigonometric
from unigen.errors import ArgumentError, ContextError
from unigen.evaluate.straightness import straightness
from unigen.models.flow_matching import FlowMatching
from unigen.models.ppca import PPCA

F64 = torch.float64


@pytest.mark.parametrize("path", [Linear(), Trigonometric()], ids=repr)
def test_gaussian_data(path):
    """z_t = r(t) eps, r² = alpha² s² + sigma²: S = ∫ r'² dt / (1 − s)² − 1, whatever the noise."""
    std = 0.3
    t = torch.linspace(0, 1, 20_001, dtype=F64)
    r = (path.alpha(t).square() * std**2 + path.sigma(t).square()).sqrt()
    expected = float((r.diff().square() * 20_000).sum()) / (1 - std) ** 2 - 1
    got = straightness(mixture_flow(torch.zeros(1, 2), std, path), 20, steps=200)
    assert got == pytest.approx(expected, rel=1e-3)


def test_a_constant_velocity_is_straight_from_any_start():
    class Shift(nn.Module):
        def __init__(self):
            super().__init__()
            self.by = nn.Parameter(torch.ones(1))

        def forward(self, z, t, context=None):
            return self.by.expand_as(z) if context is None else context.expand_as(z)

    assert straightness(FlowMatching(3, network=Shift(), start=0.2), 5) < 1e-9
    assert straightness(FlowMatching(3, network=Shift(), context=1), 5, context=[[1.0]]) < 1e-9


def test_bad_arguments_are_refused():
    program = FlowMatching(2, hidden=8, blocks=1)
    for options in ({"n": 0}, {"steps": 0}):
        with pytest.raises(ArgumentError, match="≥ 1"):
            straightness(program, **options)
    with pytest.raises(ArgumentError, match="flow"):
        straightness(PPCA(3, latents=1))
    with pytest.raises(ContextError):
        straightness(program, 3, context=torch.zeros(3, 1))
    assert straightness(program, 5, seed=3) == straightness(program, 5, seed=3)
