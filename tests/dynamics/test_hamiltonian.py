"""Hamiltonian transitions: invariance, MALA as one leap, divergent proposals refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unigen.dynamics.hamiltonian import hamiltonian, state_at

ROWS = 40_000


def double_well(u: Tensor) -> tuple[Tensor, Tensor]:
    """Base N(0, 1) and target exp(−¼(u² − 1)² / .3), for which E u² = .840546."""
    base = -0.5 * u.square().sum(1)
    return base, -(u.square() - 1).square().sum(1) / 1.2 - base


def narrow(u: Tensor) -> tuple[Tensor, Tensor]:
    """Base N(0, 1), and at β = 1 the density exp(−2u²), variance ¼."""
    return -0.5 * u.square().sum(1), -1.5 * u.square().sum(1)


@pytest.mark.parametrize(("leaps", "h"), [(1, 0.7), (4, 0.3), (3, 0.9)])
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_transitions_leave_the_density_invariant(leaps, h, beta):
    """From exact draws at any step size, variance and fourth moment stay; 40,000 chains see 2.5 % of a variance."""
    variance = 1 / (1 + 3 * beta)
    state = state_at(narrow, torch.randn(ROWS, 1).double() * variance**0.5)
    rows = torch.full((ROWS,), h).double()
    for _ in range(3):
        state, accepted = hamiltonian(narrow, state, beta, rows, leaps)
    z = state.u[:, 0] / variance**0.5
    assert accepted.mean() < 0.999  # the correction is at work
    assert abs(z.square().mean() - 1) < 5 * (2 / ROWS) ** 0.5
    assert abs(z.pow(4).mean() - 3) < 5 * (96 / ROWS) ** 0.5
    assert torch.allclose(state.log_ratio, -1.5 * state.u.square().sum(1))


def test_it_reaches_the_double_well():
    state = state_at(double_well, torch.randn(4000, 1).double())
    for _ in range(60):
        state, _ = hamiltonian(double_well, state, 1.0, torch.full((4000,), 0.3).double(), 5)
    square = state.u[:, 0].square()
    assert abs(square.mean() - 0.840546) < 5 * square.std() / 4000**0.5


def test_one_leap_is_the_langevin_proposal():
    """L = 1 proposes u + ½h² ∇log π(u) + h r: at u = 1, β = 0, mean 1 − ½h² and variance h²."""
    h, rows = 0.4, 40_000
    state = state_at(narrow, torch.ones(rows, 1).double())
    moved, accepted = hamiltonian(narrow, state, 0.0, torch.full((rows,), h).double(), 1)
    r = torch.randn(rows).double()
    proposal = 1 - 0.5 * h * h + h * r
    end = r - 0.5 * h * (1 + proposal)
    gain = -0.5 * proposal.square() - 0.5 * end.square() + 0.5 + 0.5 * r.square()
    expected = gain.clamp(max=0).exp()
    assert abs(accepted.mean() - expected.mean()) < 5 * (expected.var() * 2 / rows) ** 0.5
    mean = expected * proposal + (1 - expected)
    assert abs(moved.u.mean() - mean.mean()) < 5 * (2 * moved.u.var() / rows) ** 0.5


def test_a_divergent_proposal_is_refused():
    state = state_at(narrow, torch.ones(5, 2))
    for h in (1e4, 1e30, float("inf")):
        moved, accepted = hamiltonian(narrow, state, 1.0, torch.full((5,), h), 8)
        assert torch.equal(moved.u, state.u) and accepted.max() == 0
