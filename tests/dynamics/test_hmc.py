"""Static trajectories: reversible, of second order, and invariant on densities with known moments."""

from __future__ import annotations

import torch

from unigen.dynamics.hmc import StaticNoise, hmc_transition, leap_of
from unigen.dynamics.nuts import Point


def quartic(q):
    return (0.25 * q**4 + 0.5 * q.square()).sum(1), q**3 + q


def gaussian(q):
    return 0.5 * q.square().sum(1), q


def noise(chains, d, accept=None):
    u = torch.rand(2, chains).double()
    return StaticNoise(torch.randn(chains, d).double(), u[0] if accept is None else accept, u[1])


def test_leapfrog_is_reversible_and_of_second_order():
    leap = leap_of(quartic)
    q, r, mass = torch.randn(50, 2).double(), torch.randn(50, 2).double(), torch.tensor([[0.5, 2.0]]).double()
    errors = []
    for steps in (50, 100):
        h = torch.full((50, 1), 1.0 / steps).double()
        a, b, g = q, r, quartic(q)[1]
        for _ in range(steps):
            a, b, g, value = leap(a, b, g, -0.5 * h, h * mass)
        energy = value + 0.5 * (mass * b.square()).sum(1)
        errors.append((energy - quartic(q)[0] - 0.5 * (mass * r.square()).sum(1)).abs().max())
        b = -b
        for _ in range(steps):
            a, b, g, _ = leap(a, b, g, -0.5 * h, h * mass)
        torch.testing.assert_close(a, q, atol=1e-10, rtol=0)
        torch.testing.assert_close(-b, r, atol=1e-10, rtol=0)
    assert 3.5 < float(errors[0] / errors[1]) < 4.5


def test_moments_of_a_gaussian():
    """2,000 chains that start in the target, 10 coarse transitions: z-tests of mean and variance, with se < 0.03."""
    q = torch.randn(2000, 2).double()
    at, draws = Point(q, *gaussian(q)), []
    step, mass = torch.full((2000,), 1.2).double(), torch.full_like(q, 1.5)
    for _ in range(10):
        transition = hmc_transition(leap_of(gaussian), at, step, mass, noise(2000, 2), 3, 0.3)
        at = transition.point
        draws.append(at.q)
    assert 0.3 < float(transition.acceptance_rate.mean()) < 0.95  # so that the decision matters
    found = torch.stack(draws)
    for each, truth in ((found.mean(0), 0.0), (found.square().mean(0), 1.0)):
        error = each.std(0) / 2000**0.5
        assert ((each.mean(0) - truth) / error).abs().max() < 5 and error.max() < 0.03


def test_a_rejected_chain_stays_with_its_gradient():
    q = torch.randn(5, 2).double()
    at = Point(q, *quartic(q))
    step = torch.full((5,), 0.5).double()
    stay = hmc_transition(
        leap_of(quartic), at, step, torch.ones_like(q), noise(5, 2, torch.ones(5) * 2), 3, 0.0
    )
    for old, new in zip(vars(at).values(), vars(stay.point).values(), strict=True):
        assert torch.equal(old, new)


def test_a_step_too_large_diverges_and_stays():
    q = torch.randn(5, 2).double() * 100
    at = Point(q, *quartic(q))
    found = hmc_transition(
        leap_of(quartic), at, torch.full((5,), 10.0).double(), torch.ones_like(q), noise(5, 2), 20, 0.0
    )
    assert bool(found.diverging.all()) and torch.equal(found.point.q, q)
    assert bool((found.acceptance_rate == 0).all())
