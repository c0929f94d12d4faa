"""A density of one's own: what it returns is what a program answers with, kind and error included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from tests.programs import Toy
from unigen.densities.density import Density
from unigen.densities.importance import Importance
from unigen.densities.labelled_bound import LabelledBound
from unigen.logprob import Kind, LogProb
from unigen.models.ppca import PPCA
from unigen.program import Program


class Evidence(Density):
    """log N(x; 0, 2) of the toy, whose latent is summed out by hand; an offset to tell it apart."""

    def __init__(self, offset: float = 0.0, secret: float = 7.0) -> None:
        self.offset, self._secret = offset, secret

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        two = x.new_tensor(2.0)
        return LogProb(
            torch.distributions.Normal(0 * two, two.sqrt()).log_prob(x).sum(-1) + self.offset, self.kind
        )


class FromBelow(Evidence):
    kind = Kind.LOWER_BOUND

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        value = super().log_prob(program, x).value - 0.1
        return LogProb(value, self.kind, 0.01 * torch.ones_like(value))


def test_a_program_answers_with_the_density_it_is_given():
    x = torch.randn(7, 1, dtype=torch.float64)
    exact, below = Toy().log_prob(x, density=Evidence()), Toy().log_prob(x, density=FromBelow())
    truth = torch.from_numpy(stats.norm.logpdf(x[:, 0], 0, 2**0.5))
    torch.testing.assert_close(exact.value, truth, atol=1e-12, rtol=0)
    assert exact.kind is Kind.EXACT and exact.stderr is None
    torch.testing.assert_close(below.value, truth - 0.1, atol=1e-12, rtol=0)
    assert below.kind is Kind.LOWER_BOUND
    assert below.stderr is not None and torch.equal(below.stderr, torch.full((7,), 0.01, dtype=torch.float64))


def test_it_is_the_truth_that_importance_weighted_bounds_approach():
    """Two ways to one number: the toy's guide is the prior, whose bound of 20,000 draws is tight to its error."""
    x = torch.randn(3, 1, dtype=torch.float64)
    bound = Toy().log_prob(x, density=Importance(20_000))
    gap = Toy().log_prob(x, density=Evidence()).value - bound.value
    assert bound.stderr is not None and bool((gap.abs() < 5 * bound.stderr + 1e-3).all())


def test_options_are_shown_and_what_is_private_is_not():
    assert repr(Evidence(0.5)) == "Evidence(offset=0.5)"
    assert repr(Importance(3, batch=2)) == "Importance(samples=3, batch=2)"
    assert repr(LabelledBound(Kind.EXACT)) == "LabelledBound()"


def test_without_its_method_it_is_no_density():
    class Empty(Density):
        pass

    make: Any = Empty
    with pytest.raises(TypeError, match="log_prob"):
        make()
    with pytest.raises(TypeError, match="abstract"):
        make = Density
        make()
    assert Density.kind is Kind.EXACT and PPCA(2, 1).log_prob(torch.zeros(1, 2)).kind is Kind.EXACT
