"""Tables against the distributions they tabulate."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import constraints

from tests.sequences import F64
from unigen.distributions.finite import check_levels, finite_levels, log_table
from unigen.distributions.likelihoods import Bernoulli, Categorical, Gaussian
from unigen.distributions.logistic_likelihood import MixtureOfLogistics
from unigen.errors import SupportError, UnsupportedQueryError


@pytest.mark.parametrize(
    ("head", "levels"),
    [(Bernoulli(), (0, 1)), (Categorical(5), (0, 4)), (MixtureOfLogistics(3, levels=7), (0, 6))],
    ids=str,
)
def test_a_table_holds_the_probability_of_every_level(head, levels):
    assert finite_levels(head) == levels
    phi = torch.randn(2, 3, head.parameters_per_feature, dtype=F64)
    table = log_table(head, phi)
    for k in range(levels[0], levels[1] + 1):
        value = torch.full((2, 3), float(k), dtype=F64)
        each = head.elementwise(phi, torch.Size((3,))).log_prob(value)
        assert (table[..., k - levels[0]] - each).abs().max() < 1e-12
    assert (table.logsumexp(-1)).abs().max() < 1e-12


@pytest.mark.parametrize("head", [Gaussian("network"), MixtureOfLogistics(2)], ids=str)
def test_reals_have_no_table(head):
    assert finite_levels(head) is None
    with pytest.raises(UnsupportedQueryError):
        log_table(head, torch.randn(2, head.parameters_per_feature))
    check_levels(torch.full((3,), 1e9), head, "program")


def test_integers_without_an_upper_bound_have_no_table():
    head = Bernoulli()
    head.support = constraints.nonnegative_integer
    assert finite_levels(head) is None


@pytest.mark.parametrize(("row", "token"), [(0, -1), (1, 4)])
def test_a_value_outside_is_named_with_its_place(row, token):
    x = torch.zeros(2, 3)
    check_levels(x, Categorical(4), "Transformer")
    x[row, 2] = token
    with pytest.raises(
        SupportError, match=rf"token outside.*got {token} at place \({row}, 2\), expected 0 … 3"
    ):
        check_levels(x, Categorical(4), "Transformer")
    with pytest.raises(SupportError, match=rf"got {token} at place 2,"):
        check_levels(x[row], Categorical(4), "Transformer")
