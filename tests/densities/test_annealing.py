"""Annealing between functions: Jarzynski's identity both ways, the ladder, frozen step sizes."""

from __future__ import annotations

import math

import pytest
import torch

from unigen.densities.annealing import TARGET, forward, ladder, pilot, reverse

LOG_Z = -math.log(2.0)  # of ½u² → 2u²: −.693147


def path(u):
    """Base N(0, 1), normalised up to the same constant as the target exp(−2u²)/√2π, whose integral is ½."""
    return -0.5 * u.square().sum(1), -1.5 * u.square().sum(1)


def test_the_ladder_rises_from_zero_to_one_and_is_symmetric():
    for steps in (1, 2, 7):
        betas = torch.tensor(ladder(steps))
        assert betas[0] == 0 and betas[-1] == 1 and bool((betas.diff() > 0).all())
        assert torch.allclose(betas + betas.flip(0), torch.ones(steps + 1))
    assert ladder(4, rise=1e-3) == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-6)


@pytest.mark.parametrize(("steps", "leaps"), [(1, 1), (2, 3), (10, 1), (10, 4)])
def test_both_directions_are_unbiased_for_any_step_sizes(steps, leaps):
    """E w = Z and E 1/w = 1/Z hold exactly: 20,000 chains, at step sizes nobody tuned."""
    k, betas = 20_000, ladder(steps)
    sizes = torch.linspace(0.2, 1.2, steps - 1).double()[:, None] if steps > 1 else torch.zeros(0, 1)
    up, _ = forward(path, torch.randn(k, 1).double(), betas, sizes, leaps)
    w = up.exp()
    assert abs(w.mean() - 0.5) < 5 * w.std() / k**0.5
    if steps > 2:  # 1/w of a single jump has no variance here
        down, _ = reverse(path, torch.randn(k, 1).double() / 2, betas, sizes, leaps)
        v = (-down).exp()
        assert abs(v.mean() - 2) < 5 * v.std() / k**0.5
        assert up.mean() < LOG_Z < down.mean()


def test_more_steps_narrow_the_bracket():
    gaps = []
    for steps in (5, 40):
        betas = ladder(steps)
        sizes = pilot(path, torch.randn(200, 1).double(), betas, 3, 200)
        up, _ = forward(path, torch.randn(2000, 1).double(), betas, sizes, 3)
        down, _ = reverse(path, torch.randn(2000, 1).double() / 2, betas, sizes, 3)
        gaps.append((down.mean() - up.mean()).item())
    assert 0 < gaps[1] < gaps[0] / 2


def test_the_pilot_finds_step_sizes_for_each_example():
    """Two examples with scales 1 and 1/100: step sizes differ as much, acceptance is near its target."""
    scale = torch.tensor([1.0, 0.01]).double()

    def scaled(u):
        rows = scale.repeat(u.shape[0] // 2)
        return -0.5 * (u[:, 0] / rows).square(), torch.zeros(u.shape[0]).double()

    betas, chains = ladder(60), 50
    start = torch.randn(100, 1).double() * scale.repeat(chains)[:, None]
    sizes = pilot(scaled, start, betas, 2, chains)
    assert sizes.shape == (59, 2)
    assert sizes[-1, 0] / sizes[-1, 1] == pytest.approx(100, rel=0.35)
    log_w, accepted = forward(scaled, start, betas, sizes, 2)
    assert log_w.shape == (chains, 2) and bool((log_w == 0).all())
    assert accepted.tolist() == pytest.approx([TARGET] * 2, abs=0.12)
