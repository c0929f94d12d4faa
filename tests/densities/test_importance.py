"""The importance-weighted bound: exact under an exact guide, its expectation by quadrature, its error honest."""

from __future__ import annotations

import pytest
import torch

from tests.problems import toy_bound, toy_evidence
from tests.programs import Conditional, SharedMean, Toy
from unigen.densities.importance import Importance
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.logprob import Kind

ROWS = 4000


def ones(n: int = ROWS) -> torch.Tensor:
    return torch.ones(n, 1, dtype=torch.float64)


@pytest.mark.parametrize("k", [1, 2, 10])
def test_expectation_is_the_bound_by_quadrature(k):
    found = Toy().log_prob(ones(), density=Importance(k))
    assert found.kind is Kind.LOWER_BOUND
    error = found.value.std() / ROWS**0.5
    assert abs(found.value.mean() - toy_bound(k)) < 5 * error
    assert toy_bound(k) < toy_evidence()


@pytest.mark.parametrize("k", [1, 7])
def test_an_exact_guide_gives_the_evidence_without_noise(k):
    found = Toy(exact=True).log_prob(ones(3), density=Importance(k))
    assert found.value.tolist() == pytest.approx([toy_evidence()] * 3, abs=1e-9)
    assert (found.stderr is None) if k == 1 else (found.stderr.max() < 1e-9)


def test_the_stated_error_is_the_spread():
    found = Toy().log_prob(ones(), density=Importance(200))
    assert found.stderr.mean().item() == pytest.approx(found.value.std().item(), rel=0.1)


def test_the_batch_bounds_memory_and_not_the_numbers():
    seen = []

    class Counting(Toy):
        def guide(self, x):
            seen.append(x.shape[0])
            return Toy.guide(self, x)

    x = torch.linspace(-2, 2, 10, dtype=torch.float64)[:, None]
    program = Counting(exact=True)
    found = program.log_prob(x, density=Importance(5, batch=20))
    assert max(seen) == 4 and sum(seen) == 10
    whole = Toy(exact=True).log_prob(x, density=Importance(5))
    assert torch.allclose(found.value, whole.value)
    assert Importance(50, batch=1).log_prob(program, x).value.shape == (10,)


def test_without_latents_it_is_exact_and_contexts_are_cut_alike():
    program, c, x = Conditional(), torch.randn(9, 3), torch.randn(9, 2)
    found = program.log_prob(x, c, density=Importance(4, batch=8))
    assert found.kind is Kind.EXACT
    assert torch.allclose(found.value, program.log_prob(x, c).value)


def test_refusals():
    for options in ({"samples": 0}, {"batch": 0}):
        with pytest.raises(ArgumentError):
            Importance(**options)
    with pytest.raises(UnsupportedQueryError, match="couples"):
        SharedMean().log_prob(torch.zeros(3, 1), density=Importance(4))
