"""Oracles: SciPy's assignment, brute force over permutations, the entropic plan's own optimality conditions."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from unigen.dynamics import coupling
from unigen.dynamics.coupling import Independent, MinibatchOT, Rectified, assignment, entropic_plan
from unigen.errors import ArgumentError, UnsupportedQueryError

F64 = torch.float64


def cost_of(u, eps) -> float:
    return float((u - eps).square().flatten(1).sum(1).mean())


def test_the_assignment_is_the_best_permutation():
    u, eps = torch.randn(2, 6, 3, dtype=F64)
    best = min(cost_of(u, eps[list(p)]) for p in itertools.permutations(range(6)))
    assert cost_of(u, MinibatchOT().pair(u, eps)) == pytest.approx(best, abs=1e-12)


def test_the_assignment_of_a_batch_is_scipys_and_is_shorter():
    u, eps = torch.randn(100, 2, 2, dtype=F64) + 1.0, torch.randn(100, 2, 2, dtype=F64)
    got = MinibatchOT().pair(u, eps)
    squares = torch.cdist(u.flatten(1), eps.flatten(1)).square()
    _, columns = linear_sum_assignment(squares.numpy())
    assert torch.equal(got, eps[torch.from_numpy(columns)])
    assert cost_of(u, got) < 0.8 * cost_of(u, eps)
    assert torch.equal(got.flatten().sort().values, eps.flatten().sort().values)
    assert torch.equal(Independent().pair(u, eps), eps)


def test_the_entropic_plan_has_its_marginals_and_its_form():
    """P = diag(a) exp(−C / reg) diag(b): log P + C / reg is a sum of a row term and a column term."""
    cost = torch.rand(8, 8, dtype=F64)
    plan = entropic_plan(cost, 0.3)
    torch.testing.assert_close(plan.sum(0), torch.full((8,), 1 / 8, dtype=F64), rtol=0, atol=1e-5)
    torch.testing.assert_close(plan.sum(1), torch.full((8,), 1 / 8, dtype=F64), rtol=0, atol=1e-5)
    form = plan.log() + cost / cost.max() / 0.3
    residue = form - form.mean(0) - form.mean(1, keepdim=True) + form.mean()
    assert float(residue.abs().max()) < 1e-8


def test_draws_follow_the_rows_of_the_entropic_plan(monkeypatch):
    u, eps = torch.randn(2, 5, 1, dtype=F64)
    plan, n = entropic_plan((u - eps.T).square(), 0.2) * 5, 20_000
    monkeypatch.setattr(coupling, "entropic_plan", lambda cost, reg: plan / 5)
    counts = sum((MinibatchOT(0.2).pair(u, eps) == eps.T).double() for _ in range(n))
    z = (counts / n - plan) / (plan * (1 - plan) / n).sqrt().clamp_min(5 / n)
    assert float(z.abs().max()) < 5


@pytest.mark.parametrize("reg", [None, 0.05], ids=str)
def test_entropy_moves_from_the_assignment_to_independence(reg):
    u, eps = torch.randn(2, 64, 2, dtype=F64)
    exact, got = cost_of(u, MinibatchOT().pair(u, eps)), cost_of(u, MinibatchOT(reg).pair(u, eps))
    assert exact - 1e-9 <= got
    assert got < cost_of(u, MinibatchOT(1e4).pair(u, eps))


def test_the_noise_keeps_its_law():
    """However the batch is coupled, the noise of a datum is normal on the average over data."""
    for pairing in (MinibatchOT(), MinibatchOT(0.1)):
        eps = torch.cat([pairing.pair(3 + torch.randn(16, 1), torch.randn(16, 1)) for _ in range(300)])
        spread = math.sqrt(300 * 16)
        assert abs(float(eps.mean())) * spread < 5 * 1.5  # reused noises widen the error
        assert abs(float(eps.square().mean()) - 1) * spread < 5 * 1.5 * math.sqrt(2)


def test_no_random_number_of_python_is_drawn_and_degenerate_costs_pass():
    state = random.getstate()
    assert sorted(assignment(torch.zeros(3, 3)).tolist()) == [0, 1, 2]
    torch.testing.assert_close(entropic_plan(torch.zeros(2, 2), 0.1), torch.full((2, 2), 0.25))
    assert random.getstate() == state


def test_bad_arguments_are_refused():
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ArgumentError, match="reg"):
            MinibatchOT(bad)
    with pytest.raises(ArgumentError, match="contexts"):
        MinibatchOT().check_context(2)
    with pytest.raises(UnsupportedQueryError, match="pairs of another flow"):
        Rectified().pair(torch.zeros(2, 1), torch.zeros(2, 1))
    assert repr(MinibatchOT(0.5)) == "MinibatchOT(reg=0.5)"
    Independent().check_context(3)
