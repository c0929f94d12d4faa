from __future__ import annotations

import pytest
import torch
from torch import nn

from unigen.dynamics.divergence import ExactDivergence, Hutchinson, quadratic_forms
from unigen.errors import ArgumentError, ShapeError


class Field(nn.Module):
    """An MLP on events of any shape."""

    def __init__(self, event: tuple[int, ...]) -> None:
        super().__init__()
        d = torch.Size(event).numel()
        self.event = event
        self.layers = nn.Sequential(nn.Linear(d, 32), nn.SiLU(), nn.LayerNorm(32), nn.Linear(32, d)).double()

    def forward(self, x):
        return self.layers(x.flatten(1)).reshape(x.shape)


def jacobians(f, x):
    """One brute-force Jacobian an example, (N, D, D)."""
    d = x[0].numel()
    return torch.stack(
        [torch.autograd.functional.jacobian(lambda y: f(y.unsqueeze(0))[0], row).reshape(d, d) for row in x]
    )


@pytest.mark.parametrize("event", [(1,), (7,), (2, 3), (33,)])
@pytest.mark.parametrize("chunk", [None, 4])
def test_exact_divergence_is_the_trace_of_the_brute_force_jacobian(event, chunk):
    f, x = Field(event), torch.randn(5, *event, dtype=torch.float64)
    value, stderr = ExactDivergence(chunk)(f, x)
    trace = jacobians(f, x).diagonal(dim1=1, dim2=2).sum(1)
    assert stderr is None
    torch.testing.assert_close(value, trace, rtol=1e-10, atol=1e-10)


def test_quadratic_forms_return_the_field_too():
    f, x = Field((3,)), torch.randn(4, 3, dtype=torch.float64)
    vectors = torch.randn(6, 4, 3, dtype=torch.float64)
    value, forms, norms = quadratic_forms(f, x, vectors)
    torch.testing.assert_close(value, f(x))
    rows = torch.einsum("kni,nij->knj", vectors, jacobians(f, x))
    torch.testing.assert_close(norms, rows.square().sum(-1), rtol=1e-10, atol=1e-10)
    expected = torch.einsum("kni,nij,knj->kn", vectors, jacobians(f, x), vectors)
    torch.testing.assert_close(forms, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("gaussian", [False, True])
def test_hutchinson_is_unbiased_with_the_variance_of_theory(gaussian):
    matrix, probes = torch.randn(4, 4, dtype=torch.float64), 40_000
    mean, stderr = Hutchinson(probes, gaussian)(
        lambda x: x @ matrix.T, torch.zeros(1, 4, dtype=torch.float64)
    )
    assert abs(float((mean - matrix.trace()) / stderr)) < 5
    symmetric = matrix + matrix.T
    variance = 0.5 * (symmetric**2).sum() - (0 if gaussian else 0.5 * (symmetric.diagonal() ** 2).sum())
    assert float(stderr**2 * probes / variance) == pytest.approx(1.0, abs=0.12)


def test_hutchinson_is_exact_for_a_diagonal_jacobian():
    x = torch.randn(6, 3, dtype=torch.float64)
    mean, stderr = Hutchinson(2)(torch.tanh, x)
    torch.testing.assert_close(mean, (1 - torch.tanh(x) ** 2).sum(1))
    assert float(stderr.max()) < 1e-12


def test_gradients_pass_through_the_divergence():
    f = Field((3,))
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: ExactDivergence()(f, y)[0], x)
    weight = f.layers[0].weight
    ExactDivergence()(f, x)[0].sum().backward()
    assert float(weight.grad.abs().sum()) > 0


def test_a_seed_reproduces_the_probes():
    x = torch.randn(2, 3)
    one, two = (Hutchinson(4, generator=torch.Generator().manual_seed(1)).vectors(x) for _ in range(2))
    assert torch.equal(one, two)
    assert set(one.unique().tolist()) == {-1.0, 1.0}


def test_misuse_is_refused():
    with pytest.raises(ShapeError, match="shape of x"):
        ExactDivergence()(lambda x: x[:, :1], torch.randn(2, 3))
    with pytest.raises(ArgumentError, match="probes"):
        Hutchinson(0)
    with pytest.raises(ArgumentError, match="chunk"):
        ExactDivergence(0)
