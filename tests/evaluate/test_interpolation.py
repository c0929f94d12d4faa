"""Oracles: angles and norms of the great circle, and the linear flow of Gaussian data."""

from __future__ import annotations

import math

import pytest
import torch

from tests.diffusion_problems import gaussian_diffusion
from unigen.dynamics.schedule import VPCosine
from unigen.errors import ArgumentError, ShapeError
from unigen.evaluate.interpolation import interpolate, slerp
from unigen.models.diffusion import Diffusion
from unigen.models.flow_matching import FlowMatching
from unigen.models.ppca import PPCA
from unigen.samplers.noise_space import to_noise
from unigen.samplers.probability_flow import ProbabilityFlowODE

F64 = torch.float64


def test_angles_are_equal_and_the_radius_is_kept():
    a, b = (
        torch.nn.functional.normalize(torch.randn(6, 2, 3, dtype=F64).flatten(1), dim=1) for _ in range(2)
    )
    arc = slerp(3 * a.reshape(6, 2, 3), 3 * b.reshape(6, 2, 3), torch.linspace(0, 1, 5, dtype=F64)).flatten(2)
    torch.testing.assert_close(arc.norm(dim=2), torch.full((5, 6), 3.0, dtype=F64))
    steps = torch.acos(((arc[1:] * arc[:-1]).sum(2) / 9.0).clamp(-1, 1))
    torch.testing.assert_close(steps, (torch.acos((a * b).sum(1)) / 4).expand(4, 6))


@pytest.mark.parametrize("factor", [1.0, -1.0, 1.0 + 1e-9])
def test_where_there_is_no_circle_it_is_the_chord(factor):
    a = torch.tensor([[1.0, 2.0]], dtype=F64)
    arc = slerp(a, factor * a, torch.tensor([0.0, 0.25, 1.0], dtype=F64))
    expected = torch.stack([a, (0.75 + 0.25 * factor) * a, factor * a])
    torch.testing.assert_close(arc, expected, rtol=1e-6, atol=1e-6)


def test_ends_are_the_data_and_the_middle_lies_on_the_arc():
    """The flow of Gaussian data is z = (x − m) s_1 alpha_0 / s_0 + alpha_1 m, so that the arc is known."""
    program = gaussian_diffusion(VPCosine(1e5, 1e-5), 0.3, 2.0, 4)
    a, b = torch.randn(3, 4, dtype=F64), torch.randn(3, 4, dtype=F64)
    ode = ProbabilityFlowODE(1e-8, 1e-8)
    path = interpolate(program, a, b, steps=3, ode=ode)
    torch.testing.assert_close(path[0], a, rtol=0, atol=1e-5)
    torch.testing.assert_close(path[2], b, rtol=0, atol=1e-5)
    za, zb = to_noise(program, a, ode=ode), to_noise(program, b, ode=ode)
    angle = torch.acos((za * zb).sum(1) / za.norm(dim=1) / zb.norm(dim=1))[:, None]
    middle = (za + zb) * torch.sin(angle / 2) / torch.sin(angle)
    torch.testing.assert_close(to_noise(program, path[1], ode=ode), middle, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", [Diffusion, FlowMatching])
def test_context_stays_the_same_on_the_way(family):
    program = family(2, hidden=8, blocks=1, context=2)
    a, b, c = torch.randn(3, 2), torch.randn(3, 2), torch.randn(3, 2)
    path = interpolate(program, a, b, 4, c)
    assert path.shape == (4, 3, 2)
    torch.testing.assert_close(
        path[:, 1:2], interpolate(program, a[1:2], b[1:2], 4, c[1:2]), rtol=1e-3, atol=1e-3
    )


def test_misuse_is_refused():
    program, x = Diffusion(2, hidden=8, blocks=1), torch.randn(3, 2)
    with pytest.raises(ArgumentError, match="at least 2"):
        interpolate(program, x, x, steps=1)
    with pytest.raises(ShapeError, match="site 'b'"):
        interpolate(program, x, x[:2])
    with pytest.raises(ArgumentError, match="Diffusion"):
        interpolate(PPCA(2, 1), x, x)
    assert math.isfinite(float(interpolate(program, x, x, 2).sum()))
