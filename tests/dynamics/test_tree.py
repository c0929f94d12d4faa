"""The steps of a trajectory, one at a time, against the same by hand."""

from __future__ import annotations

import torch

from unigen.dynamics.tree import begin, eager_kernels, leaf_of, merge, turn, turning


def potential(q):
    return 0.5 * q.square().sum(1), q


def state(c, d, alive=True):
    matrix, row = [torch.randn(c, d).double() for _ in range(5)], torch.zeros(c).double()
    on = torch.full((c,), alive)
    empty = torch.full((c,), -torch.inf).double()
    return (
        *matrix[:3],
        matrix[3],
        row,
        matrix[4],
        empty,
        torch.zeros(c, d).double(),
        row,
        row,
        ~on & on,
        on,
        row + 0.5,
    )


def fixed(c, d):
    return torch.full((c, 1), 0.1).double(), torch.ones(c, d).double(), torch.zeros(c).double() + d


def test_a_leaf_is_one_leapfrog_step_and_the_first_is_picked():
    s, (h, mass, energy) = state(4, 3), fixed(4, 3)
    q, r, g, pick_q, pick_u, pick_g, log_weight, total, accepted, leaves, divergent, alive, u = leaf_of(
        potential
    )(*s, h, mass, energy)
    half = s[1] - 0.05 * s[2]
    torch.testing.assert_close(q, s[0] + 0.1 * half)
    torch.testing.assert_close(r, half - 0.05 * q)
    assert torch.equal(pick_q, q) and torch.equal(pick_g, g) and torch.equal(total, r)
    torch.testing.assert_close(log_weight, energy - pick_u - 0.5 * r.square().sum(1))
    torch.testing.assert_close(accepted, log_weight.clamp(max=0).exp())
    assert bool((leaves == 1).all() and alive.all() and not divergent.any()) and bool(
        ((u >= 0) & (u < 1)).all()
    )


def test_what_is_not_alive_stays():
    s = state(4, 3, alive=False)
    after = leaf_of(potential)(*s, *fixed(4, 3))
    for i, (old, new) in enumerate(zip(s, after, strict=True)):
        assert i == 12 or torch.equal(old, new)  # 12: the spent uniform number


def test_leaves_are_picked_in_proportion_to_their_weights():
    """One uniform number, stretched after each use, picks among three leaves in proportion to their weights."""
    c = 40_000
    weights = torch.tensor([1.0, 3.0, 2.0]).double()
    count = iter([-weights.log()[i] * torch.ones(c).double() for i in range(3)])

    def known(q):
        return next(count), torch.zeros_like(q)

    s = list(state(c, 1))
    s[1], s[2], s[12] = torch.zeros(c, 1).double(), torch.zeros(c, 1).double(), torch.rand(c).double()
    leaf, picked = leaf_of(known), []
    constants = (torch.zeros(c, 1).double(), torch.ones(c, 1).double(), torch.zeros(c).double())
    for _ in range(3):
        s = list(leaf(*s, *constants))
        picked = s[4]  # U of the pick tells which it is
    for w in weights:
        share, p = float((picked + w.log()).abs().lt(1e-9).double().mean()), float(w / weights.sum())
        assert abs(share - p) < 5 * (p * (1 - p) / c) ** 0.5


def test_turning():
    mass = torch.ones(2, 1).double()
    forth, back = torch.ones(2, 1).double(), -torch.ones(2, 1).double()
    assert not bool(turning(mass, forth, forth, 2 * forth).any())
    assert bool(turning(mass, forth, back, 0 * forth).all())
    (alive,) = turn(torch.tensor([True, False]), mass, forth, forth, forth, 2 * forth)
    assert alive.tolist() == [True, False]


def test_begin_and_merge_are_where_the_direction_says():
    left, right = (
        [torch.zeros(2, 1).double() for _ in range(3)],
        [torch.ones(2, 1).double() for _ in range(3)],
    )
    pick = (left[0], torch.zeros(2).double(), left[0])
    row, yes = torch.zeros(2).double(), torch.ones(2, dtype=torch.bool)
    trees = (*left, *right, *pick, row, right[0], row, row, row, ~yes, yes)
    *new, forward, h = begin(*trees, torch.tensor([0.2, 0.8]).double(), row, row + 0.3)
    assert forward.tolist() == [True, False]
    torch.testing.assert_close(h[:, 0], torch.tensor([0.3, -0.3]).double())
    assert new[0][:, 0].tolist() == [1.0, 0.0]
    new[0] = torch.full((2, 1), 7.0).double()
    new[6], new[9] = row, row + 1
    merged = merge(*trees, *new, forward, row + 0.5, torch.ones(2, 1).double())
    assert merged[0][:, 0].tolist() == [0.0, 7.0] and merged[3][:, 0].tolist() == [7.0, 1.0]
    assert merged[13].tolist() == [1.0, 1.0]
    torch.testing.assert_close(merged[9], torch.full((2,), 2.0).double().log())


def test_eager_kernels_are_these():
    kernels = eager_kernels(potential)
    assert (kernels.turn, kernels.begin, kernels.merge) == (turn, begin, merge)
