"""The low-rank Gaussian against SciPy's dense one and torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pyro import distributions as dist

from tests import problems
from unigen.distributions.low_rank import LowRankNormal, linear_gaussian_posterior


def parts(
    batch: tuple[int, ...] = (), d: int = 5, q: int = 2
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        torch.randn(*batch, d).double(),
        torch.randn(*batch, d, q).double(),
        torch.rand(*batch, d).double() + 0.1,
    )


def test_log_prob_is_the_dense_one():
    loc, w, psi = parts()
    x = torch.randn(30, 5).double()
    dense = problems.gaussian_log_density(x.numpy(), loc.numpy(), (w @ w.mT + torch.diag(psi)).numpy())
    assert np.allclose(LowRankNormal(loc, w, psi).log_prob(x), dense, atol=1e-12)


@pytest.mark.parametrize("batch", [(), (3,), (4, 3)])
def test_batches_and_expansion(batch):
    loc, w, psi = parts(batch)
    p = LowRankNormal(loc, w, psi)
    oracle = dist.LowRankMultivariateNormal(loc, w, psi)
    x = p.sample((7,))
    assert x.shape == (7, *batch, 5)
    assert torch.allclose(p.log_prob(x), oracle.log_prob(x), atol=1e-10)
    wide = p.expand((2, *batch))
    assert type(wide) is LowRankNormal
    assert torch.allclose(wide.log_prob(x[:2]), oracle.log_prob(x[:2]), atol=1e-10)


def test_gradients_in_every_argument():
    loc, w, psi = (t.requires_grad_(True) for t in parts(d=3))
    x = torch.randn(2, 3).double().requires_grad_(True)
    assert torch.autograd.gradcheck(
        lambda *a: LowRankNormal(*a[:3], validate_args=False).log_prob(a[3]), (loc, w, psi, x)
    )


def test_float32_keeps_its_digits_where_woodbury_cancels():
    """λ/ψ ≈ 10⁷: torch's form is off by tens of nats in float32, the sum of squares by less than 0.01."""
    w, psi = torch.randn(20, 3).double() * 10, torch.full((20,), 1e-4).double()
    x = torch.randn(100, 3).double() @ w.mT + 1e-2 * torch.randn(100, 20).double()
    dense = problems.gaussian_log_density(x.numpy(), np.zeros(20), (w @ w.mT + torch.diag(psi)).numpy())

    def error(family) -> float:
        single = family(torch.zeros(20), w.float(), psi.float()).log_prob(x.float())
        return float(np.abs(single.double().numpy() - dense).max())

    assert error(LowRankNormal) < 0.01
    assert error(dist.LowRankMultivariateNormal) > 1.0


def test_posterior_is_the_conditioned_joint():
    loc, w, psi = parts()
    x = torch.randn(9, 5).double()
    mean, covariance = problems.gaussian_posterior(w.numpy(), psi.numpy(), loc.numpy(), x.numpy())
    q = linear_gaussian_posterior(w, loc, psi, x)
    assert np.allclose(q.mean, mean, atol=1e-12)
    assert np.allclose(q.covariance_matrix[3], covariance, atol=1e-12)
