"""The divergence ∇·f of a batched field, exactly or by random probes.

Both are sums or means of quadratic forms vᵀ (∂f/∂x) v over a set of vectors v: the basis vectors give the trace itself,
random vectors with E[v vᵀ] = I give it in expectation. One evaluation of f and one batched vector-Jacobian product a
set; gradients may be taken through the result.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from unigen.errors import ArgumentError, ShapeError


def quadratic_forms(
    f: Callable[[Tensor], Tensor], x: Tensor, vectors: Tensor, chunk: int | None = 16
) -> tuple[Tensor, Tensor, Tensor]:
    """f(x), and vᵀ (∂f/∂x) v and ‖vᵀ ∂f/∂x‖² for every vector and example.

    Args:
        f: A field that treats examples independently, (N, *event) -> (N, *event).
        x: Points, (N, *event).
        vectors: Vectors v, (K, N, *event), or (K, 1, *event) where all examples share them.
        chunk: Number of vectors handled at once; memory grows with it.

    Returns:
        f(x), (N, *event), the forms, (K, N), and the squared norms, (K, N).

    Raises:
        ShapeError: f does not keep the shape of x.
    """
    value, pull = torch.func.vjp(f, x)  # pyright: ignore[reportAssignmentType]
    if value.shape != x.shape:
        raise ShapeError("a field must keep the shape of x", got=tuple(value.shape), expected=tuple(x.shape))

    def form(v: Tensor) -> tuple[Tensor, Tensor]:
        v = v.expand_as(x)
        row = pull(v)[0]
        return (row * v).flatten(1).sum(1), row.square().flatten(1).sum(1)

    return value, *torch.func.vmap(form, chunk_size=chunk)(vectors)


class Divergence(ABC):
    """A way to compute ∇·f; final classes are `ExactDivergence` and `Hutchinson`."""

    chunk: int | None

    @abstractmethod
    def vectors(self, x: Tensor) -> Tensor:
        """Vectors to probe with, drawn once for a whole trajectory.

        Args:
            x: Points, (N, *event).

        Returns:
            Vectors, (K, N, *event) or (K, 1, *event).
        """

    @abstractmethod
    def combine(self, forms: Tensor) -> Tensor:
        """Unbiased terms for a trace from the forms of each vector.

        Args:
            forms: vᵀ J v, (K, N).

        Returns:
            Terms, (N, T): T = 1 where exact, T = number of probes otherwise.
        """

    def parts(
        self, f: Callable[[Tensor], Tensor], x: Tensor, vectors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """f(x), one unbiased term for ∇·f a column, and ‖∂f/∂x‖²_F.

        Args:
            f: The field, (N, *event) -> (N, *event).
            x: Points, (N, *event).
            vectors: What `vectors` returned.

        Returns:
            f(x), (N, *event), terms, (N, T), and the squared Frobenius norm of the Jacobian, (N,), or an unbiased
            estimate of it.
        """
        value, forms, norms = quadratic_forms(f, x, vectors, self.chunk)
        return value, self.combine(forms), self.combine(norms).mean(1)

    def terms(self, f: Callable[[Tensor], Tensor], x: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """f(x), (N, *event), and one unbiased term for ∇·f a column, (N, T), as `parts`."""
        return self.parts(f, x, vectors)[:2]

    def estimate(self, terms: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean over terms and its standard error.

        Args:
            terms: Terms, or integrals of terms along a trajectory, (N, T).

        Returns:
            The mean (N,), and its standard error (N,), or None where there is a single term.
        """
        count = terms.shape[1]
        return terms.mean(1), terms.std(1) / math.sqrt(count) if count > 1 else None

    def __call__(self, f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor | None]:
        """∇·f at x.

        Args:
            f: The field, (N, *event) -> (N, *event).
            x: Points, (N, *event).

        Returns:
            The divergence (N,), and its standard error (N,) or None.

        Example:
            >>> f = lambda x: x * x.sum(-1, keepdim=True)
            >>> ExactDivergence()(f, torch.tensor([[1.0, 2.0]]))[0]  # 3 (x1 + x2)
            tensor([9.])
        """
        return self.estimate(self.terms(f, x, self.vectors(x))[1])


@final
class ExactDivergence(Divergence):
    """The trace of the Jacobian, at the cost of D vector-Jacobian products.

    Args:
        chunk: Basis vectors handled at once; memory grows with it.
    """

    def __init__(self, chunk: int | None = 16) -> None:
        if chunk is not None and chunk < 1:
            raise ArgumentError(
                program="ExactDivergence", site="chunk", got=chunk, expected="at least 1, or None"
            )
        self.chunk = chunk

    def vectors(self, x: Tensor) -> Tensor:
        """The basis, (D, 1, *event)."""
        dims = math.prod(x.shape[1:])
        return torch.eye(dims, dtype=x.dtype, device=x.device).reshape(dims, 1, *x.shape[1:])

    def combine(self, forms: Tensor) -> Tensor:
        """The trace, (N, 1)."""
        return forms.sum(0).unsqueeze(1)

    def __repr__(self) -> str:
        """The call that builds it."""
        return "ExactDivergence()"


@final
class Hutchinson(Divergence):
    """An unbiased estimate from random probes: E[vᵀ J v] = tr J.

    With Rademacher probes the variance is Σ_{i≠j} (J_ij + J_ji)² / 2 a probe, zero where J is diagonal; Gaussian probes
    add 2 Σ J_ii².

    Args:
        probes: Number of probes; a standard error needs two.
        gaussian: Gaussian probes instead of Rademacher.
        generator: Source of randomness; torch's global one by default.
        chunk: Probes handled at once; memory grows with it.

    References:
        Hutchinson 1989; Grathwohl et al. 2019, FFJORD.
    """

    def __init__(
        self,
        probes: int = 8,
        gaussian: bool = False,
        generator: torch.Generator | None = None,
        chunk: int | None = 16,
    ) -> None:
        if probes < 1:
            raise ArgumentError(program="Hutchinson", site="probes", got=probes, expected="at least 1")
        self.probes, self.gaussian, self.generator, self.chunk = probes, gaussian, generator, chunk

    def vectors(self, x: Tensor) -> Tensor:
        """Random probes, (K, N, *event)."""
        size = (self.probes, *x.shape)
        options: dict[str, Any] = {"dtype": x.dtype, "device": x.device}
        if self.generator is not None:  # symbolic sizes cannot be traced beside a generator, not even None
            options["generator"] = self.generator
        return (
            torch.randn(size, **options)
            if self.gaussian
            else 2.0 * torch.randint(0, 2, size, **options) - 1.0
        )

    def combine(self, forms: Tensor) -> Tensor:
        """One quadratic form a probe, (N, K)."""
        return forms.t()

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"Hutchinson(probes={self.probes}, gaussian={self.gaussian})"
