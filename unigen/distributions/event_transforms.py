"""Bijections of whole events: any torch transform lifted to one, the inverse of one, a chain of several.

Notation: x (..., *event) data, z noise of the same number of elements; the log-determinant has the shape of the
batch (...).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Transform, constraints

from unigen.distributions.bijection import inverse, inverse_and_log_det, value_and_log_det


def reals(rank: int) -> constraints.Constraint:
    """Return the real tensors with ``rank`` dimensions."""
    return constraints.real_vector if rank == 1 else constraints.independent(constraints.real, rank)


def over_event(ladj: Tensor, rank: int) -> Tensor:
    """Sum log-slopes over the last ``rank`` dimensions."""
    return ladj.sum(-1) if rank == 1 else ladj.sum(tuple(range(-rank, 0)))


class EventTransform(Transform, ABC):
    """A bijection of whole events, whose value and log-determinant come from one pass.

    Args:
        rank: Number of dimensions of an event.
    """

    bijective = True

    def __init__(self, rank: int = 1) -> None:
        super().__init__()
        self.rank = rank
        self.domain = self.codomain = reals(rank)

    @abstractmethod
    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z, shape of x, and log |det ∂z/∂x|, shape of the batch."""

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log |det ∂z/∂x|, shape of the batch."""
        return self.call_and_ladj(x)[1]


class Lifted(EventTransform):
    """Any torch ``Transform``, its log-slopes summed over the event.

    Args:
        inner: The transform; its own events may have fewer dimensions.
        rank: Number of dimensions of an event.
    """

    def __init__(self, inner: Transform, rank: int = 1) -> None:
        super().__init__(rank)
        self.inner, self.surplus = inner, rank - inner.domain.event_dim
        self.bijective = inner.bijective
        if self.surplus >= 0:
            self.domain = constraints.independent(inner.domain, self.surplus)
            self.codomain = constraints.independent(inner.codomain, self.surplus)

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Return the shape of z for a shape of x."""
        return self.inner.forward_shape(shape)

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Return the shape of x for a shape of z."""
        return self.inner.inverse_shape(shape)

    def _inverse(self, z: Tensor) -> Tensor:
        return inverse(self.inner, z)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant."""
        z, ladj = value_and_log_det(self.inner, x)
        return z, over_event(ladj, self.surplus) if self.surplus else ladj


class Inverted(EventTransform):
    """z = g⁻¹(x) of an event transform g: what was fast one way is fast the other way."""

    def __init__(self, inner: EventTransform) -> None:
        super().__init__(inner.rank)
        self.inner, self.domain, self.codomain = inner, inner.codomain, inner.domain
        self.bijective = inner.bijective

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Return the shape of z for a shape of x."""
        return self.inner.inverse_shape(shape)

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Return the shape of x for a shape of z."""
        return self.inner.forward_shape(shape)

    def _inverse(self, z: Tensor) -> Tensor:
        return self.inner.call_and_ladj(z)[0]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and −log |det ∂g/∂z|."""
        z = inverse(self.inner, x)
        return z, -self.inner.call_and_ladj(z)[1]

    def inverse_and_ladj(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return x = g(z) and log |det ∂g/∂z|."""
        return self.inner.call_and_ladj(z)


class Chain(Transform):
    """z = f_T ∘ … ∘ f_1(x) of event transforms; log-determinants add up."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        super().__init__()
        self.transforms = tuple(transforms)
        self.domain, self.codomain = self.transforms[0].domain, self.transforms[-1].codomain
        self.bijective = all(f.bijective for f in self.transforms)

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Return the shape of z for a shape of x."""
        for f in self.transforms:
            shape = f.forward_shape(shape)
        return shape

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Return the shape of x for a shape of z."""
        for f in reversed(self.transforms):
            shape = f.inverse_shape(shape)
        return shape

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def _inverse(self, z: Tensor) -> Tensor:
        for f in reversed(self.transforms):
            z = inverse(f, z)
        return z

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return Σ_t log |det ∂f_t|, shape of the batch."""
        return self.call_and_ladj(x)[1]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the sum of the log-determinants."""
        z, total = value_and_log_det(self.transforms[0], x)
        for f in self.transforms[1:]:
            z, ladj = value_and_log_det(f, z)
            total = total + ladj
        return z, total

    def inverse_and_ladj(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return x = f⁻¹(z) and the sum of the log-determinants of the inverses."""
        x, total = inverse_and_log_det(self.transforms[-1], z)
        for f in reversed(self.transforms[:-1]):
            x, ladj = inverse_and_log_det(f, x)
            total = total + ladj
        return x, total
