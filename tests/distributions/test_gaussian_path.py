"""Paths with Gaussian steps: linear steps are one dense Gaussian, others a product of normals by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from unigen.distributions.gaussian_path import GaussianPath
from unigen.errors import ShapeError, SupportError
from unigen.logprob import Kind

F64, T, L = torch.float64, 4, 2
A = torch.tensor([[0.9, -0.3], [0.2, 0.7]], dtype=F64)
B, S = torch.tensor([0.5, -0.1], dtype=F64), torch.tensor([0.6, 1.1], dtype=F64)
START = torch.tensor([1.0, -2.0], dtype=F64)


def linear(z: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
    return z @ A.mT + B, S.expand_as(z)


def curved(z: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
    return torch.sin(z) + (0.0 if h is None else h), 0.3 + torch.sigmoid(z)


def dense() -> MultivariateNormal:
    """z_{1:T} of the linear steps as one Gaussian: z = K ξ + m with ξ the noises of all steps."""
    mean, rows = torch.zeros(T, L, dtype=F64), torch.zeros(T, L, T * L, dtype=F64)
    m, row = START, torch.zeros(L, T * L, dtype=F64)
    for t in range(T):
        m, row = A @ m + B, A @ row
        row[:, t * L : (t + 1) * L] += torch.diag(S)
        mean[t], rows[t] = m, row
    k = rows.flatten(0, 1)
    return MultivariateNormal(mean.flatten(), k @ k.mT)


def test_linear_steps_have_the_density_of_one_gaussian():
    path, z = GaussianPath(linear, START, T), 2 * torch.randn(5, 3, T, L, dtype=F64)
    torch.testing.assert_close(path.log_prob(z), dense().log_prob(z.flatten(-2)))
    assert path.event_shape == (T, L) and path.batch_shape == () and path.kind is Kind.EXACT


def test_linear_steps_have_the_moments_of_one_gaussian():
    n, truth = 40_000, dense()
    z = GaussianPath(linear, START, T).sample(torch.Size((n,))).flatten(1)
    variance = truth.covariance_matrix.diagonal()
    assert float(((z.mean(0) - truth.mean) / variance.sqrt()).abs().max()) < 5 / n**0.5
    spread = variance.sqrt()
    error = (z.mT.cov() - truth.covariance_matrix) / (spread[:, None] * spread)
    assert float(error.abs().max()) < 5 * (2 / n) ** 0.5


def test_curved_steps_have_the_product_of_their_normals():
    known = torch.randn(3, T, L, dtype=F64)
    path = GaussianPath(curved, START, T, known)
    z = path.sample(torch.Size((7,)))
    assert z.shape == (7, 3, T, L) and path.batch_shape == (3,)
    total, before = torch.zeros(7, 3, dtype=F64), START.expand(7, 3, L)
    for t in range(T):
        loc, scale = torch.sin(before) + known[:, t], 0.3 + torch.sigmoid(before)
        total = total + Normal(loc, scale).log_prob(z[..., t, :]).sum(-1)
        before = z[..., t, :]
    torch.testing.assert_close(path.log_prob(z), total)


def test_draws_are_standardised_step_by_step():
    """(z_t − m(z_{t−1}, h_t)) / s is standard normal, in every place and over all of them together."""
    n, known = 10_000, torch.randn(T, L, dtype=F64)
    z = GaussianPath(curved, START, T, known).sample(torch.Size((n,)))
    before = torch.cat((START.expand(n, 1, L), z[:, :-1]), 1)
    xi = ((z - torch.sin(before) - known) / (0.3 + torch.sigmoid(before))).flatten(1)
    assert float(xi.mean(0).abs().max()) < 5 / n**0.5
    assert float((xi.mT.cov() - torch.eye(T * L)).abs().max()) < 5 * (2 / n) ** 0.5


def test_draws_carry_pathwise_gradients():
    """d E z_T / d start = Aᵀ to the power T for linear steps, whatever the noise."""
    start = START.clone().requires_grad_(True)
    z = GaussianPath(linear, start, T).rsample(torch.Size((3,)))
    (slope,) = torch.autograd.grad(z[:, -1, 0].sum() / 3, start)
    torch.testing.assert_close(slope, torch.linalg.matrix_power(A, T)[0])
    assert GaussianPath.has_rsample


def test_batches():
    path = GaussianPath(linear, START, T).expand(torch.Size((5,)))
    z = path.rsample(torch.Size((2,)))
    assert z.shape == (2, 5, T, L) and path.log_prob(z).shape == (2, 5)
    assert path.support.event_dim == 2
    walk = GaussianPath(lambda z, h: (z, torch.ones_like(z)), torch.zeros(1), 3)
    assert float(walk.log_prob(torch.zeros(3, 1))) == pytest.approx(-1.5 * math.log(2 * math.pi))


def test_values_that_are_no_paths_are_refused():
    path = GaussianPath(linear, START, T)
    with pytest.raises(ShapeError, match=r"GaussianPath.*\(4, 2\)"):
        path.log_prob(torch.zeros(3, L, dtype=F64))
    with pytest.raises(ShapeError, match="GaussianPath"):
        path.log_prob(torch.zeros(T, 1, dtype=F64))
    with pytest.raises(SupportError, match="GaussianPath"):
        path.log_prob(torch.full((T, L), math.nan, dtype=F64))
