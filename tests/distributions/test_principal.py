"""Principal axes, whichever way they are found, against NumPy's covariance and singular values in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unigen.distributions import principal
from unigen.distributions.principal import covariance, principal_axes

SHAPES = [(40, 4), (4, 40), (7, 7), (1, 3), (3000, 30), (30, 3000)]


def spectrum(n: int, d: int) -> torch.Tensor:
    return (torch.randn(n, d).double() * torch.logspace(1, -2, d).double() + 2).float()


def moments(x: torch.Tensor, w: torch.Tensor | None = None) -> tuple[np.ndarray, np.ndarray]:
    rows = x.double().numpy()
    return np.average(rows, 0, w), np.cov(rows.T, bias=True, aweights=w).reshape(x.shape[1], x.shape[1])


def check(x: torch.Tensor, w: torch.Tensor | None = None, count: int | None = None, tolerance: float = 1e-12):
    """Every eigenvalue; every axis as an eigenvector; orthonormality; signs."""
    mean, values, axes = principal_axes(x, w, count=count)
    truth, s = moments(x, None if w is None else w.numpy())
    k = axes.shape[1]
    scale = max(values[0].item(), 1e-300)
    assert np.allclose(mean, truth, atol=1e-12) and (k == x.shape[1] if count is None else k == count)
    assert values.shape == (x.shape[1],) and (values[:-1] >= values[1:] - tolerance * scale).all()
    assert np.allclose(values[:k], np.sort(np.linalg.eigvalsh(s))[::-1][:k], atol=tolerance * scale)
    assert values.sum().item() == pytest.approx(np.trace(s), rel=1e-11, abs=1e-12)
    assert np.allclose(s @ axes.numpy(), axes.numpy() * values[:k].numpy(), atol=tolerance**0.5 * scale)
    assert np.allclose(axes.mT @ axes, np.eye(k), atol=1e-10)
    assert (axes.gather(0, axes.abs().argmax(0, keepdim=True)) > 0).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("count", [None, 2])
def test_values_and_axes_are_numpys(shape, count):
    if shape != (30, 3000) or count is not None:
        check(spectrum(*shape), count=count)


@pytest.mark.parametrize("shape", [(40, 4), (9, 40), (3000, 30)], ids=str)
def test_weights(shape):
    w = torch.rand(shape[0])
    w[: shape[0] // 3] = 0
    check(spectrum(*shape), w, count=3)


def test_integer_weights_repeat_rows():
    x, w = spectrum(30, 5), torch.randint(0, 4, (30,))
    one, other = principal_axes(x, w.float()), principal_axes(x.repeat_interleave(w, 0))
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("shape", [(600, 300), (300, 600)], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_krylov_finds_the_same(shape, weighted, monkeypatch):
    x = torch.randn(*shape) + torch.randn(shape[0], 5) @ torch.randn(5, shape[1])
    w = torch.rand(shape[0]) if weighted else None
    exact = principal_axes(x, w, count=8)
    monkeypatch.setattr(principal, "KRYLOV_FROM", 100)
    monkeypatch.setattr(principal, "_by_gram", None)
    monkeypatch.setattr(principal, "_by_covariance", None)
    mean, values, axes = principal_axes(x, w, count=8)
    assert torch.allclose(mean, exact[0]) and torch.allclose(values[:8], exact[1][:8], rtol=1e-9)
    assert values[8:].sum().item() == pytest.approx(exact[1][8:].sum().item(), rel=1e-9)
    assert torch.allclose(axes, exact[2], atol=1e-4)  # residual / relative gap


def test_chunks_do_not_matter(monkeypatch):
    """Sorted rows, so that no chunk resembles the whole, far from the origin; many chunks against one.

    Rounding of x itself is 1e-16 · 1e5 / 3 of its spread.
    """
    x = torch.randn(500, 6).double().sort(0).values * 3 + 1e5
    one = covariance(x)
    monkeypatch.setattr(principal, "NUMBERS", 50)
    many = covariance(x)
    assert torch.allclose(one[0], many[0], rtol=1e-14) and torch.allclose(one[1], many[1], rtol=1e-9, atol=0)
    assert np.allclose(many[1], np.cov(x.numpy().T, bias=True), rtol=1e-9)


def test_small_eigenvalues_of_float32_data():
    """λ_min/λ_1 = 1e-12 survives: the data determine it, products in float32 do not."""
    turn = torch.linalg.qr(torch.randn(4, 4).double()).Q
    x = (torch.randn(2000, 4).double() * torch.tensor([1e3, 1.0, 1.0, 1e-3]).double() @ turn).float()
    rows = x.double() - x.double().mean(0)
    truth = torch.linalg.svdvals(rows).square() / 2000  # of the rounded data
    assert torch.allclose(principal_axes(x)[1], truth, rtol=1e-2)
    single = torch.linalg.eigvalsh((rows.float().mT @ rows.float() / 2000).double()).flip(0)
    assert (single / truth - 1).abs().max() > 1


def test_constant_columns_have_variance_zero():
    x = torch.cat([torch.randn(5000, 2), torch.full((5000, 2), 0.1)], 1)
    assert torch.equal(covariance(x)[1][2:], torch.zeros(2, 4).double())
    assert torch.equal(principal_axes(x)[1][2:], torch.zeros(2).double())
