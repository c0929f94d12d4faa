"""The no-U-turn sampler against densities with known moments, and against itself with fewer chains."""

from __future__ import annotations

import torch

from unigen.dynamics.nuts import Noise, Point, _levels, nuts_transition
from unigen.dynamics.tree import eager_kernels

DOUBLINGS = 6


def noises(chains, d, rounds, seed):
    """Random numbers of every transition, each chain's from a generator of its own."""
    own = []
    for c in range(chains):
        g = torch.Generator().manual_seed(1000 * seed + c)
        own.append(
            (
                torch.randn(rounds, d, generator=g, dtype=torch.float64),
                torch.rand(rounds, 3, DOUBLINGS, generator=g, dtype=torch.float64),
            )
        )
    normal = torch.stack([part for part, _ in own], 1)
    uniform = torch.stack([part for _, part in own], 1)
    return [Noise(n, u[:, 0], u[:, 1], u[:, 2]) for n, u in zip(normal, uniform, strict=True)]


def run(potential, start, step, rounds, seed, mass=1.0):
    q = start.double()
    at, draws, log = Point(q, *potential(q)), [], []
    for noise in noises(q.shape[0], q.shape[1], rounds, seed):
        log.append(
            nuts_transition(
                eager_kernels(potential),
                at,
                torch.full((q.shape[0],), step).double(),
                torch.full_like(q, mass),
                noise,
            )
        )
        at = log[-1].point
        draws.append(at.q)
    return torch.stack(draws), log


def gaussian(sd):
    def potential(q):
        return 0.5 * (q / sd).square().sum(1), q / sd**2

    return potential


def test_moments_of_a_gaussian():
    """Chains start in the target, so each of 400 is an exact replicate: power ½ against 5 % in a sd."""
    sd = torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64)
    start = torch.randn(400, 3).double() * sd
    draws, log = run(gaussian(sd), start, 0.25, 40, seed=torch.randint(99, ()).item())
    mean = draws.mean(0) / sd
    assert (mean.mean(0) / (mean.std(0) / 20)).abs().max() < 5
    square = (draws / sd).square().mean(0)
    assert ((square.mean(0) - 1) / (square.std(0) / 20)).abs().max() < 5
    assert (square.std(0) / 20).max() < 0.03
    assert not any(bool(t.diverging.any()) for t in log)


def test_moments_of_a_skewed_density():
    """q = log of a Gamma(2, 1) variable: E[exp q] = 2, E[exp 2q] = 6."""

    def potential(q):
        return (q.exp() - 2 * q).sum(1), q.exp() - 2

    start = torch.distributions.Gamma(2.0, 1.0).sample((400, 1)).double().log()
    draws, _ = run(potential, start, 0.4, 40, seed=torch.randint(99, ()).item())
    for power, truth in ((1, 2.0), (2, 6.0)):
        each = (power * draws).exp().mean(0)[:, 0]
        assert abs(float((each.mean() - truth) / (each.std() / 20))) < 5


def test_a_chain_does_not_depend_on_the_others():
    sd = torch.tensor([0.5, 1.5], dtype=torch.float64)
    start = torch.randn(6, 2)
    many, _ = run(gaussian(sd), start, 0.4, 15, seed=3)
    few, _ = run(gaussian(sd), start[:2], 0.4, 15, seed=3)
    assert torch.equal(many[:, :2], few)


def test_trajectories_turn_back_after_half_a_period():
    """For a unit Gaussian and small steps a trajectory spans about π to 2π, that is π/h to 4π/h leaves."""
    h = 0.05
    _, log = run(gaussian(torch.ones(1).double()), torch.randn(200, 1), h, 3, seed=1)
    leaves = torch.cat([t.n_steps for t in log])
    assert float(leaves.max()) <= 2**DOUBLINGS - 1
    _, log = run(gaussian(torch.ones(1).double()), torch.randn(200, 1), 4 * h, 3, seed=1)
    leaves = torch.cat([t.n_steps for t in log])
    assert torch.pi / (4 * h) / 2 < float(leaves.median()) < 4 * torch.pi / (4 * h)


def test_a_step_too_large_is_reported_as_divergent():
    _, log = run(gaussian(torch.ones(2).double() * 1e-3), torch.randn(5, 2) * 1e-3, 1.0, 2, seed=0)
    assert bool(log[0].diverging.all())
    assert bool(log[-1].point.q.isfinite().all())


def test_checkpoints_are_those_of_the_subtrees_that_a_leaf_completes():
    """Leaf 7 of 8 completes the pairs (6, 7), (4 … 7) and (0 … 7), whose first leaves were stored at levels 2, 1, 0."""
    assert list(_levels(7)) == [2, 1, 0]
    assert list(_levels(5)) == [1]
    assert list(_levels(1)) == [0]
    assert list(_levels(3)) == [1, 0]
