"""The traceable Cholesky factor against torch's own and finite differences."""

from __future__ import annotations

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from unigen.distributions.cholesky import cholesky


def positive(batch: int, q: int = 3) -> torch.Tensor:
    w = torch.randn(batch, q, q).double()
    return w @ w.mT + torch.eye(q)


def test_value_and_gradients():
    a = positive(4)
    assert torch.equal(cholesky(a), torch.linalg.cholesky(a))
    half = torch.randn(2, 3, 3).double().requires_grad_(True)

    def factor(b: torch.Tensor) -> torch.Tensor:
        return cholesky(b @ b.mT + torch.eye(3))

    assert torch.autograd.gradcheck(factor, half)
    assert torch.autograd.gradgradcheck(factor, half)
    assert torch.allclose(torch.func.vmap(cholesky)(a), torch.linalg.cholesky(a))


def test_its_gradient_is_traced_for_every_batch():
    def slope(a: torch.Tensor) -> torch.Tensor:
        a = a.detach().requires_grad_(True)
        return torch.autograd.grad(cholesky(a).sin().sum(), a)[0]

    graph = make_fx(slope, tracing_mode="symbolic")(positive(5))
    other = positive(7)
    truth = other.clone().requires_grad_(True)
    own = torch.autograd.grad(torch.linalg.cholesky(truth).sin().sum(), truth)[0]
    assert torch.allclose(graph(other), (own + own.mT) / 2, atol=1e-12)
