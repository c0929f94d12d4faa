"""The algebra of kinds, the arithmetic of errors, bits per dimension, and comparisons."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from unigen.errors import ArgumentError, KindError, ShapeError
from unigen.logprob import Kind, LogProb

E, L, U, M, N = Kind.EXACT, Kind.LOWER_BOUND, Kind.UPPER_BOUND, Kind.ESTIMATE, Kind.UNNORMALISED
TABLE = {  # the whole algebra, written out
    (E, E): E, (E, L): L, (E, U): U, (E, M): M, (E, N): N,
    (L, L): L, (L, U): None, (L, M): L, (L, N): N,
    (U, U): U, (U, M): U, (U, N): N, (M, M): M, (M, N): N, (N, N): N,
}  # fmt: skip


def total(a: Kind, b: Kind) -> Kind | None:
    try:
        return a + b
    except KindError:
        return None


@pytest.mark.parametrize("pair", list(itertools.product(Kind, repeat=2)))
def test_sum_of_kinds(pair):
    a, b = pair
    assert total(a, b) is TABLE.get((a, b), TABLE.get((b, a)))


@pytest.mark.parametrize("triple", list(itertools.product(Kind, repeat=3)))
def test_sum_is_associative_where_both_sides_exist(triple):
    a, b, c = triple
    left, right = total(a, b), total(b, c)
    left = None if left is None else total(left, c)
    right = None if right is None else total(a, right)
    assert left is right or left is None or right is None


def test_negation():
    assert [-k for k in (E, L, U, M, N)] == [E, U, L, M, N]
    assert all(k.__neg__().__neg__() is k for k in Kind)
    assert [k.normalised for k in (E, L, U, M, N)] == [True] * 4 + [False]


def lp(values, kind=E, stderr=None, dims=None) -> LogProb:
    error = None if stderr is None else torch.tensor(stderr)
    return LogProb(torch.tensor(values), kind, error, dims)


def test_arithmetic():
    a, b = lp([1.0, 2.0], E, None, 3), lp([0.5, -1.0], L, [0.3, 0.4], 3)
    assert (a + b).value.tolist() == [1.5, 1.0] and (a + b).kind is L and (a + b).dims == 3
    assert (a - b).value.tolist() == [0.5, 3.0] and (a - b).kind is U
    assert (b - a).kind is L
    assert (-b).kind is U and (-b).value.tolist() == [-0.5, 1.0]
    assert (b + 1.0).value.tolist() == [1.5, 0.0] and (1.0 + b).kind is L
    assert (1.0 - b).value.tolist() == [0.5, 2.0] and (1.0 - b).kind is U
    assert (b - torch.tensor([0.5, 0.0])).value.tolist() == [0.0, -1.0]
    assert (a + lp([0.0, 0.0], E, None, 4)).dims is None
    assert b[1:].value.tolist() == [-1.0] and torch.allclose(b[1:].stderr, torch.tensor([0.4]))
    assert len(b) == 2


def test_errors_add_in_quadrature():
    a, b = lp([0.0], M, [0.3]), lp([0.0], M, [0.4])
    for c in (a + b, a - b):
        assert c.stderr.item() == pytest.approx(0.5)
    assert (a + lp([0.0])).stderr.item() == pytest.approx(0.3)
    total = lp([1.0, 2.0], M, [0.3, 0.4]).sum()
    assert total.value.item() == 3.0 and total.stderr.item() == pytest.approx(0.5)
    assert lp([0.0, 1.0]).sum().stderr is None


def test_mean_and_its_errors():
    values = np.random.default_rng(0).normal(size=50)
    mean = LogProb(torch.tensor(values), M, torch.full((50,), 0.2).double()).mean()
    assert mean.value == pytest.approx(values.mean())
    assert mean.stderr == pytest.approx(values.std(ddof=1) / math.sqrt(50))
    assert mean.monte_carlo == pytest.approx(0.2 / math.sqrt(50))
    assert float(mean) == mean.value
    single = lp([1.0], M, [0.2]).mean()
    assert (single.stderr, single.monte_carlo) == (pytest.approx(0.2), pytest.approx(0.2))
    assert lp([1.0]).mean().stderr is None
    assert "lower bound" in str(lp([1.0, 2.0], L).mean())
    assert "±" in repr(lp([1.0, 2.0], L, [0.1, 0.1])) and "kind=lower bound" in repr(lp([1.0, 2.0], L))


def test_float32_values_are_averaged_in_double():
    x = torch.full((3_000_000,), 0.1) + 1000
    assert LogProb(x, E).mean().value == pytest.approx(x[0].double().item(), abs=1e-9)


def test_stderr_shape():
    with pytest.raises(ShapeError, match=r"got \(2,\), expected \(3,\)"):
        LogProb(torch.zeros(3), M, torch.zeros(2))


def test_bits_per_dim():
    """A uniform density on [0, 1)^D of data with L levels costs log₂ L bits a dimension."""
    uniform = lp([0.0, 0.0], E, None, 64).bits_per_dim(levels=16)
    assert uniform.value == pytest.approx(4.0) and uniform.unit == "bits/dim" and uniform.kind is U
    assert lp([0.0], E, None, 64).bits_per_dim().kind is E
    assert lp([0.0], L, None, 2).bits_per_dim().kind is U
    nats = lp([-10.0, -14.0], L, [0.5, 0.5], 4)
    bits = nats.bits_per_dim(levels=2)
    assert bits.value == pytest.approx((4 * math.log(2) + 12) / (4 * math.log(2)))
    assert bits.stderr == pytest.approx(nats.mean().stderr / (4 * math.log(2)))
    assert lp([0.0]).bits_per_dim(levels=2, dims=3).value == pytest.approx(1.0)


@pytest.mark.parametrize(("call", "error"), [
    (lambda: lp([0.0]).bits_per_dim(), ArgumentError),
    (lambda: lp([0.0], E, None, 2).bits_per_dim(levels=0), ArgumentError),
    (lambda: lp([0.0], N, None, 2).bits_per_dim(), KindError),
    (lambda: lp([0.0], U, None, 2).bits_per_dim(levels=2), KindError),
])  # fmt: skip
def test_bits_per_dim_refuses(call, error):
    with pytest.raises(error):
        call()


@pytest.mark.parametrize(("a", "b", "kind", "verdict"), [
    (lp([3.0, 3.1]), lp([0.0, 0.0]), E, "the first is better"),
    (lp([-3.0, -3.1]), lp([0.0, 0.0]), E, "the second is better"),
    (lp([1.0, -1.0]), lp([0.0, 0.0]), E, "undecided"),
    (lp([3.0, 3.1], L), lp([0.0, 0.0]), L, "the first is better"),
    (lp([-3.0, -3.1], L), lp([0.0, 0.0]), L, "wrong side"),
    (lp([3.0, 3.1]), lp([0.0, 0.0], L), U, "wrong side"),
    (lp([-3.0, -3.1]), lp([0.0, 0.0], L), U, "the second is better"),
    (lp([3.0, 3.1], L), lp([0.0, 0.0], U), L, "the first is better"),
    (lp([3.0, 3.1], M), lp([0.0, 0.0], M), M, "the first is better"),
])  # fmt: skip
def test_comparisons(a, b, kind, verdict):
    comparison = a.compare(b)
    assert comparison.kind is kind
    assert verdict in comparison.verdict and verdict in str(comparison)


@pytest.mark.parametrize(("a", "b", "error"), [
    (lp([1.0], L), lp([0.0], L), KindError), (lp([1.0], U), lp([0.0], U), KindError),
    (lp([1.0], N), lp([0.0]), KindError), (lp([1.0]), lp([0.0], N), KindError),
    (lp([1.0, 2.0]), lp([0.0]), ShapeError),
])  # fmt: skip
def test_comparisons_refused(a, b, error):
    with pytest.raises(error):
        a.compare(b)


def test_the_error_of_a_comparison_is_paired():
    shared = torch.randn(100) * 100
    assert LogProb(shared + 1, E).compare(LogProb(shared, E)).stderr < 1e-4
