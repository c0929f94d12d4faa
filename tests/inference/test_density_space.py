"""x as a vector of reals: masses that no bijection changes, by quadrature; gradients, starts and rows of points."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import constraints

import unigen as ug
from unigen.errors import ShapeError, UnsupportedQueryError
from unigen.inference.density_space import DensitySpace
from unigen.models.potential import Potential

F64 = torch.float64
BOUNDED = {  # name -> energy, support, start, Z
    "reals": (lambda x: 0.5 * (x - 3).square().sum(-1), None, 3.5, math.sqrt(2 * math.pi)),
    "positive": (lambda x: (3 * x - 1.5 * x.log()).sum(-1), constraints.positive, 0.4, math.gamma(2.5) / 3**2.5),
    "unit interval": (
        lambda x: -(2 * x.log() + (-x).log1p()).sum(-1),
        constraints.unit_interval,
        0.7,
        math.gamma(3) * math.gamma(2) / math.gamma(5),
    ),
    "interval": (lambda x: x.sum(-1), constraints.interval(-1.0, 2.0), 0.0, math.e - math.exp(-2.0)),
}  # fmt: skip


def made(name: str, chains: int = 1, spread: float = 1.0, starts: Tensor | None = None) -> DensitySpace:
    energy, support, _, _ = BOUNDED[name]
    program = Potential(energy, 1, support=support)
    program.double()
    program.register_buffer("anchor", torch.zeros(1, dtype=F64))
    return DensitySpace(program, None, chains, starts, spread)


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("spread", [1.0, 0.3])
def test_the_mass_on_the_reals_is_z_over_the_unit(name, spread):
    """∫ exp(−U(u)) du = Z / s, whatever the support and wherever the chains start."""
    _, _, start, z = BOUNDED[name]
    space = made(name, 1, spread, torch.full((1, 1), start, dtype=F64))
    u = torch.linspace(-40, 40, 16_001, dtype=F64)[:, None] / spread
    mass = torch.trapezoid((-space.energy(u)).exp(), u[:, 0])
    assert float(mass) == pytest.approx(z / spread, rel=1e-6)


@pytest.mark.parametrize("name", BOUNDED)
def test_the_gradient_is_that_of_the_differences(name):
    space, u, h = made(name, 3, 0.7), torch.randn(3, 1, dtype=F64), 1e-6
    value, gradient = space.potential(u)
    torch.testing.assert_close(value, space.energy(u))
    slope = (space.energy(u + h) - space.energy(u - h)) / (2 * h)
    torch.testing.assert_close(gradient[:, 0], slope, atol=1e-6, rtol=1e-6)
    assert not gradient.requires_grad


@pytest.mark.parametrize("name", BOUNDED)
def test_chains_stand_at_their_starts_at_zero_and_stay_in_the_support(name):
    _, support, start, _ = BOUNDED[name]
    starts = torch.tensor([[start], [start + 0.1]], dtype=F64)
    space = made(name, 2, 0.3, starts)
    assert space.dims == 1 and space.like(2).shape == (2, 1) and space.like(2).dtype is F64
    u = 3 * torch.randn(2, 50, 1, dtype=F64)
    u[:, 0] = 0.0
    x = space.values(u)["x"]
    torch.testing.assert_close(x[:, 0], starts)
    assert x.shape == (2, 50, 1)
    if support is not None:
        assert bool(support.check(x).all())


def test_a_unit_stretches_the_reals_about_the_start():
    space = made("reals", 1, 0.25, torch.tensor([[3.5]], dtype=F64))
    u = torch.randn(1, 4, 1, dtype=F64)
    torch.testing.assert_close(space.values(u)["x"], 3.5 + 0.25 * u)
    torch.testing.assert_close(space.energy(u[0]), 0.5 * (0.5 + 0.25 * u[0, :, 0]).square())


def test_several_points_of_a_chain_share_its_start_and_its_context():
    """Rows of u come chain by chain: two points of the first, then two of the second."""
    flow = ug.RealNVP(2, context=1, hidden=(4,)).double()
    context, starts = torch.tensor([[-1.0], [2.0]], dtype=F64), torch.randn(2, 2, dtype=F64)
    space, u = DensitySpace(flow, context, 2, starts, 0.5), torch.randn(4, 2, dtype=F64)
    x = starts.repeat_interleave(2, 0) + 0.5 * u
    truth = -flow.log_prob(x, context.repeat_interleave(2, 0)).value
    torch.testing.assert_close(space.energy(u), truth)
    torch.testing.assert_close(space.energy(u[::2]), truth[::2])
    shared = DensitySpace(flow, context[:1], 2, starts, 0.5)
    torch.testing.assert_close(shared.energy(u[::2]), -flow.log_prob(x[::2], context[:1].expand(2, 1)).value)


def test_events_of_any_shape():
    program = Potential(lambda x: x.square().flatten(1).sum(1), (2, 3), support=constraints.positive)
    space = DensitySpace(program, None, 4, None, 1.0)
    assert space.dims == 6
    u = torch.randn(4, 6)
    x = u.exp()
    torch.testing.assert_close(space.energy(u), x.square().sum(1) - u.sum(1))
    assert space.values(u[:, None])["x"].shape == (4, 1, 2, 3)


def test_what_cannot_be_moved_is_refused():
    with pytest.raises(UnsupportedQueryError, match=r"discrete.*Gibbs"):
        DensitySpace(ug.RBM(3, 2), None, 2, None, 1.0)
    with pytest.raises(ShapeError, match=r"starts.*\(2, 1\)"):
        made("reals", 2, 1.0, torch.zeros(3, 1, dtype=F64))
