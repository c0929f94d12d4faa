"""Sums and draws over all states, against sums written out."""

from __future__ import annotations

import pytest
import torch

from tests.boltzmann_problems import chi_squared, states
from unigen.distributions import finite_states
from unigen.distributions.finite_states import FiniteStates
from unigen.errors import UnsupportedQueryError

LIKE = torch.zeros(1, dtype=torch.float64)


def test_every_state_is_visited_once_whatever_the_chunk(monkeypatch):
    for chunk in (3, 8, 2**14):
        monkeypatch.setattr(finite_states, "CHUNK", chunk)
        for low in (0.0, -1.0):
            found = torch.cat(list(FiniteStates(4, lambda s: s.sum(-1), lambda s: s, LIKE, low).chunks()))
            assert found.shape == (16, 4) and found.dtype == torch.float64
            assert {tuple(row) for row in found.tolist()} == {tuple(row) for row in states(4, low).tolist()}


def test_the_sum_is_that_of_independent_units_and_so_is_its_gradient():
    theta = torch.randn(15, dtype=torch.float64, requires_grad=True)
    found = FiniteStates(15, lambda s: s @ theta, lambda s: s, LIKE).log_z()
    torch.testing.assert_close(found, torch.nn.functional.softplus(theta).sum(), atol=1e-10, rtol=0)
    (gradient,) = torch.autograd.grad(found, theta)
    torch.testing.assert_close(gradient, theta.sigmoid(), atol=1e-10, rtol=0)


def test_draws_have_the_probabilities_of_the_states():
    theta = torch.randn(16, dtype=torch.float64)
    mass = FiniteStates(
        4, lambda s: theta[(s @ torch.tensor([8.0, 4.0, 2.0, 1.0]).double()).long()], lambda s: s, LIKE
    )
    assert chi_squared(mass.sample(20_000), states(4), theta.softmax(0)) > 1e-6


def test_more_than_twenty_units_are_refused_with_a_remedy():
    FiniteStates(20, lambda s: s.sum(-1), lambda s: s, LIKE)
    with pytest.raises(UnsupportedQueryError, match=r"got 2\^21.*AnnealedNormaliser"):
        FiniteStates(21, lambda s: s.sum(-1), lambda s: s, LIKE)
