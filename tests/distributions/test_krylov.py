"""Leading eigenpairs by products alone, against the full decomposition."""

from __future__ import annotations

import pytest
import torch

from unigen.distributions.krylov import leading_eigenpairs


def matrix(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    axes = torch.linalg.qr(torch.randn(values.shape[0], values.shape[0]).double()).Q
    return (axes * values) @ axes.mT, axes


@pytest.mark.parametrize("values", [
    torch.logspace(0, -8, 300), torch.linspace(2, 1, 300), torch.cat([torch.full((4,), 3.0), torch.ones(296)]),
    torch.cat([torch.ones(2), torch.zeros(298)]), torch.linspace(1, -1, 300),
], ids=["decaying", "flat", "repeated", "rank two", "indefinite"])  # fmt: skip
def test_values_and_subspace(values):
    values = values.double()
    s, _ = matrix(values)
    found = leading_eigenpairs(lambda v: s @ v, 300, 4)
    assert found is not None
    theta, axes = found
    assert torch.allclose(theta, values[:4], atol=1e-9)
    assert (s @ axes - axes * theta).norm(dim=0).max() <= 1.1e-7 * values[0]
    assert torch.allclose(axes.mT @ axes, torch.eye(4).double(), atol=1e-10)


def test_equal_matrices_give_equal_results_and_spend_no_random_numbers():
    s, _ = matrix(torch.rand(200).double())
    before = torch.get_rng_state()
    one, other = (leading_eigenpairs(lambda v: s @ v, 200, 3) for _ in range(2))
    assert one is not None and other is not None and torch.equal(one[1], other[1])
    assert torch.equal(before, torch.get_rng_state())


def test_says_when_it_has_not_converged():
    s, _ = matrix(torch.linspace(2, 1, 300).double())
    assert leading_eigenpairs(lambda v: s @ v, 300, 4, passes=3) is None
