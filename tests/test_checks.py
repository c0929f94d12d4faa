"""Every kind of bad input is refused by its own error, with got, expected and what to try."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import constraints

from unigen.checks import as_tensor, check_context, check_data, check_stored, chunks
from unigen.errors import ContextError, DTypeError, EmptyDataError, NonFiniteError, ShapeError, SupportError

REAL = constraints.independent(constraints.real, 1)
UNIT = constraints.independent(constraints.unit_interval, 1)
BITS = constraints.independent(constraints.boolean, 1)
POSITIVE = constraints.independent(constraints.positive, 1)


def check(x, support=REAL, event=(3,), dtype=torch.float32):
    return check_data(x, torch.Size(event), support, dtype, "VAE")


class Frame:
    def to_numpy(self):
        return np.ones((2, 3))


@pytest.mark.parametrize("x", [
    torch.ones(2, 3), torch.ones(2, 3).double(), torch.ones(2, 3).half(), np.ones((2, 3)), np.ones((3, 2)).T,
    [[1.0, 1.0, 1.0]] * 2, ((1.0, 1.0, 1.0),) * 2, Frame(),
])  # fmt: skip
def test_accepts_and_converts(x):
    out = check(x)
    assert out.dtype is torch.float32 and torch.equal(out, torch.ones(2, 3))


def test_keeps_the_gradient_and_does_not_copy():
    x = torch.ones(2, 3, requires_grad=True)
    assert check(x) is x


def test_discrete_data_of_any_type():
    for x in (
        torch.ones(2, 3, dtype=torch.long),
        torch.ones(2, 3),
        torch.ones(2, 3, dtype=torch.bool),
        [[0, 1, 1]],
    ):
        assert check(x, BITS).dtype is torch.float32


@pytest.mark.parametrize(("x", "support", "event", "error", "words"), [
    (torch.ones(2, 4), REAL, (3,), ShapeError, r"got shape \(2, 4\), expected \(N, 3\)"),
    (torch.ones(3), REAL, (3,), ShapeError, r"x\[None\]"),
    (torch.ones(2, 2, 2), REAL, (4,), ShapeError, r"reshape\(-1, 4\)"),
    (torch.ones(2, 4), REAL, (2, 2), ShapeError, r"reshape\(-1, 2, 2\)"),
    (torch.tensor(1.0), REAL, (3,), ShapeError, r"shape \(\)"),
    (torch.ones(0, 3), REAL, (3,), EmptyDataError, "0 examples, expected at least one"),
    (torch.ones(0), REAL, (3,), EmptyDataError, "expected"),
    ([], REAL, (3,), EmptyDataError, "expected"),
    (torch.ones(2, 3, dtype=torch.long), REAL, (3,), DTypeError, r"torch.int64.*real numbers.*x.float\(\)"),
    (torch.ones(2, 3, dtype=torch.bool), REAL, (3,), DTypeError, "bool"),
    (torch.ones(2, 3, dtype=torch.cfloat), REAL, (3,), DTypeError, "complex"),
    ("abc", REAL, (3,), DTypeError, "got str, expected a tensor"),
    (None, REAL, (3,), DTypeError, "NoneType"),
    (np.array(["a"]), REAL, (3,), DTypeError, "ndarray of dtype"),
    (np.array([[None, 1.0, 2.0]]), REAL, (3,), DTypeError, "object"),
    (torch.full((2, 3), 0.5), BITS, (3,), DTypeError, r"fractional.*integers"),
    (torch.tensor([[0.0, 1, 2], [np.nan, 0, np.inf]]), REAL, (3,), NonFiniteError, "2 non-finite.*in example 1"),
    (torch.tensor([[0.0, np.nan, 1]]), BITS, (3,), NonFiniteError, "1 non-finite"),
    (torch.full((2, 3), 2.0), BITS, (3,), SupportError, r"values in \[2, 2\]"),
    (torch.full((2, 3), 1.5), UNIT, (3,), SupportError, "rescale"),
    (torch.full((2, 3), -0.1), POSITIVE, (3,), SupportError, r"\[-0.1, -0.1\]"),
])  # fmt: skip
def test_refuses(x, support, event, error, words):
    with pytest.raises(error, match=words) as caught:
        check(x, support, event)
    assert caught.value.program == "VAE" and caught.value.site == "x"
    assert caught.value.got is not None and caught.value.expected is not None


def test_scalar_events():
    assert check_data(torch.ones(4), torch.Size(()), constraints.real, torch.float32, "P").shape == (4,)
    with pytest.raises(ShapeError, match=r"expected \(N\)"):
        check_data(torch.ones(4, 2), torch.Size(()), constraints.real, torch.float32, "P")


def test_as_tensor_shares_memory():
    a = np.zeros(3)
    as_tensor(a, "P")[0] = 1
    assert a[0] == 1


def context(c, features=2, n=3):
    return check_context(c, features, n, torch.float32, "VAE")


def test_context_accepts():
    assert context(None, 0) is None
    assert context(np.ones((3, 2))).shape == (3, 2)
    assert context(torch.ones(1, 2)).shape == (3, 2)
    assert context(torch.ones(7, 2), n=None).shape == (7, 2)
    assert context(torch.ones(3, 2, dtype=torch.long)).dtype is torch.float32


@pytest.mark.parametrize(("c", "features", "error", "words"), [
    (torch.ones(3, 2), 0, ContextError, r"got a context, expected none.*context=C"),
    (None, 2, ContextError, r"no context, expected one of shape \(N, 2\)"),
    (torch.ones(3, 4), 2, ContextError, r"got shape \(3, 4\), expected \(3, 2\)"),
    (torch.ones(4, 2), 2, ContextError, r"expected \(3, 2\)"),
    (torch.ones(2), 2, ContextError, r"got shape \(2,\)"),
    (torch.full((3, 2), np.nan), 2, NonFiniteError, "context"),
    ("abc", 2, DTypeError, "context"),
])  # fmt: skip
def test_context_refuses(c, features, error, words):
    with pytest.raises(error, match=words):
        context(c, features)


def test_chunks_hold_every_row_once_and_one_at_least():
    x = torch.arange(60.0).reshape(10, 2, 3)
    for numbers, rows in ((6, 1), (1, 1), (23, 3), (10**9, 10)):
        parts = chunks(x, numbers)
        assert parts[0].shape[0] == rows and torch.equal(torch.cat(parts), x)
        assert parts[0].data_ptr() == x.data_ptr()
    assert [len(part) for part in chunks(torch.ones(5), 2)] == [2, 2, 1]


@pytest.mark.parametrize(("where", "value", "support", "error", "words"), [
    (-1, np.nan, REAL, NonFiniteError, "1 non-finite values, the first in example 699999"),
    (-1, 1.5, UNIT, SupportError, r"values in \[0, 1.5\]"),
    (-1, 0.5, BITS, DTypeError, "fractional"),
    (400_000, np.inf, REAL, NonFiniteError, "first in example 400000"),
])  # fmt: skip
def test_the_last_of_many_rows_is_looked_at(where, value, support, error, words):
    x = torch.zeros(700_000, 3)
    x[where, 1] = value
    with pytest.raises(error, match=words):
        check(x, support)


def test_files_are_neither_copied_nor_converted(tmp_path):
    np.arange(12.0).reshape(4, 3).tofile(tmp_path / "x")
    x = np.memmap(tmp_path / "x", dtype=float, mode="r", shape=(4, 3))
    rows = check_stored(x, torch.Size((3,)), REAL, torch.float32, "VAE")
    assert rows.dtype is torch.float64 and rows.data_ptr() == x.ctypes.data
    assert check(x).dtype is torch.float32
    with pytest.raises(DTypeError, match=r"dtype >f8"):
        check(x.astype(">f8"))


def test_finite_numbers_whose_sum_is_not():
    x = torch.full((3, 3), 3e38)
    assert check(x) is x
    assert check(torch.full((3, 3), 6e4).half()).isfinite().all()
    x[1, 1] = np.inf
    with pytest.raises(NonFiniteError, match="1 non-finite values, the first in example 1"):
        check(x)
    x[1, 2] = -np.inf
    with pytest.raises(NonFiniteError, match="2 non-finite"):
        check(x)


def test_numbers_for_one_feature_are_a_column():
    with pytest.raises(
        ShapeError, match=r"got shape \(7,\), expected \(N, 1\). Try: one feature is a column: x\[:, None\]"
    ):
        check(torch.randn(7), event=(1,))
    with pytest.raises(EmptyDataError):
        check(torch.randn(0), event=(1,))


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        (torch.tensor([0, 2, 1]), r"one_hot\(labels, 3\)"),
        (torch.tensor([[0], [2], [1]]), r"one_hot\(labels.flatten\(\), 3\)"),
        (torch.tensor([0.0, 2.0, 1.0]), r"one_hot\(labels.long\(\), 3\)"),
    ],
)
def test_labels_become_a_context_by_one_hot(labels, hint):
    with pytest.raises(
        ContextError, match=rf"expected \(3, 3\). Try: integer labels: torch.nn.functional.{hint}"
    ):
        check_context(labels, 3, 3, torch.float32, "VAE")


def test_what_is_no_label_gets_no_such_hint():
    for c in (torch.tensor([0.5, 1.0]), torch.tensor([0, 3]), torch.tensor([-1, 2]), torch.zeros(2, 2)):
        with pytest.raises(ContextError) as caught:
            check_context(c, 3, 2, torch.float32, "VAE")
        assert caught.value.hint is None
    with pytest.raises(ContextError, match=r"context\[:, None\]"):
        check_context(torch.randn(4), 1, 4, torch.float32, "VAE")


def test_numbers_that_the_programs_dtype_cannot_hold():
    x = np.full((2, 3), 1.0)
    x[1, 2] = -1e300
    with pytest.raises(
        NonFiniteError, match=r"float64 values that torch.float32 cannot hold.*up to 3.4e\+38"
    ):
        check(x)
    assert check(x, dtype=torch.float64)[1, 2] == -1e300
