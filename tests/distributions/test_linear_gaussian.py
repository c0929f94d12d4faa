"""The EM step of linear-Gaussian models against repeated rows, explicit conditionals and plain regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import problems
from unigen.distributions import linear_gaussian
from unigen.distributions.linear_gaussian import check_weights, finite_covariance, moments
from unigen.errors import ArgumentError, NonFiniteError, ShapeError
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.ppca import PPCA


@pytest.mark.parametrize("family", [PPCA, FactorAnalysis])
def test_integer_weights_are_repeated_rows(family):
    x = torch.randn(30, 5).double() * torch.tensor([3.0, 2.0, 1.0, 1.0, 0.5]) + 2
    r = torch.randint(0, 4, (30,))
    r[0] = 3
    a, b = family(5, 2).double(), family(5, 2).double()
    b.load_state_dict(a.state_dict())
    for _ in range(3):
        a.em_step(x, weights=r.float())
        b.em_step(x.repeat_interleave(r, 0))
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-10, atol=1e-12)
    a.em_step(x, weights=0.25 * r)  # only ratios of weights matter
    b.em_step(x, weights=r)
    assert torch.allclose(a.weight, b.weight, rtol=1e-9)


def test_moments_are_those_of_explicit_conditionals():
    w, psi = torch.randn(4, 2).double(), torch.rand(4).double() + 0.1
    x, r = torch.randn(20, 4).double(), torch.rand(20).double()
    m = moments(x, r, w, psi, "FA")
    mean = np.average(x.numpy(), axis=0, weights=r.numpy())
    loc, covariance = problems.gaussian_posterior(w.numpy(), psi.numpy(), mean, x.numpy())
    a = np.concatenate([loc, np.ones((20, 1))], 1)
    second = np.einsum("n,ni,nj->ij", r.numpy(), a, a)
    second[:2, :2] += r.sum().item() * covariance
    assert np.allclose(m.second[0], second, atol=1e-12)
    assert np.allclose(m.cross, np.einsum("n,nd,nj->dj", r.numpy(), x.numpy() - mean, a), atol=1e-12)


def test_maximise_is_the_best_regression():
    """Moving any coefficient away from the solution raises the expected squared residuals, ridge included."""
    w, psi = torch.randn(4, 2).double(), torch.rand(4).double() + 0.1
    m = moments(torch.randn(20, 4).double(), None, w, psi, "FA")
    ridge = torch.rand(4, 2).double()

    def cost(b: torch.Tensor) -> torch.Tensor:
        fitted = (b[:, None] @ m.second @ b[..., None])[:, 0, 0]
        return (m.square - 2 * (b * m.cross).sum(1) + fitted + (ridge * b[:, :2] ** 2).sum(1)).sum()

    weight, mean, residual = m.maximise(ridge)
    b = torch.cat([weight, (mean - m.centre)[:, None]], 1).requires_grad_(True)
    (slope,) = torch.autograd.grad(cost(b), b)
    assert slope.abs().max() < 1e-10
    assert (residual.sum() + (ridge * weight**2).sum()).item() == pytest.approx(cost(b).item(), rel=1e-12)


def test_chunks_change_nothing(monkeypatch):
    x, r = torch.randn(50, 3).double(), torch.rand(50).double()
    w, psi = torch.randn(3, 1).double(), torch.ones(3).double()
    whole = moments(x, r, w, psi, "PPCA"), finite_covariance(x, r, "PPCA")[1]
    monkeypatch.setattr(linear_gaussian, "CHUNK", 12)
    parts = moments(x, r, w, psi, "PPCA"), finite_covariance(x, r, "PPCA")[1]
    assert torch.allclose(whole[0].second, parts[0].second)
    assert torch.allclose(whole[0].cross, parts[0].cross)
    assert torch.allclose(whole[1], parts[1])
    oracle = np.cov(x.numpy().T, aweights=r.numpy(), ddof=0)
    assert np.allclose(whole[1], oracle, atol=1e-12)


@pytest.mark.parametrize("bad", [
    torch.ones(4), torch.ones(5, 1), torch.tensor([1.0, -1, 1, 1, 1]), torch.zeros(5),
    torch.tensor([1.0, torch.nan, 1, 1, 1]), torch.tensor([1.0, torch.inf, 1, 1, 1]),
])  # fmt: skip
@pytest.mark.parametrize("family", [PPCA, FactorAnalysis])
def test_refuses_weights(family, bad):
    program = family(4, 1)
    before = program.weight.detach().clone()
    with pytest.raises((ShapeError, ArgumentError), match="weights"):
        program.em_step(torch.randn(5, 4), weights=bad)
    assert torch.equal(before, program.weight)
    assert check_weights(None, 5, "PPCA") is None


@pytest.mark.parametrize("family", [PPCA, FactorAnalysis])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_refuses_data_that_are_not_finite(family, value):
    x = torch.randn(9, 4)
    x[3, 2] = value
    with pytest.raises(NonFiniteError):
        family(4, 1).em_step(x)
