"""Cholesky factors of a batch of matrices, with a gradient that can be traced where the batch is symbolic.

    A = LLᵀ,    Ā = ½ L⁻ᵀ (P + Pᵀ) L⁻¹,    P = Φ(LᵀL̄),    Φ the lower triangle with half the diagonal

torch's own gradient solves triangular systems, for which tracing with an unknown number of matrices fails; here
L⁻¹ is formed, which is as good for small well-conditioned matrices.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Cholesky(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return torch.linalg.cholesky(a)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (factor,) = ctx.saved_tensors
        p = (factor.mT @ grads[0]).tril()
        p = p - 0.5 * torch.diag_embed(p.diagonal(dim1=-2, dim2=-1))
        inverse = torch.linalg.inv(factor)
        return inverse.mT @ (0.5 * (p + p.mT)) @ inverse


def cholesky(a: Tensor) -> Tensor:
    """Return the lower factors L of symmetric positive definite matrices, shape (..., q, q).

    Args:
        a: A = LLᵀ, shape (..., q, q).

    References:
        Murray, Differentiation of the Cholesky decomposition, 2016.

    Example:
        >>> cholesky(torch.tensor([[4.0, 2.0], [2.0, 2.0]]))
        tensor([[2., 0.],
                [1., 1.]])
    """
    found = _Cholesky.apply(a)
    assert isinstance(found, Tensor)
    return found
