"""The marginal of observations whose latent path sums out exactly, p(x) = ∫ p(x | z) p(z) dz."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.flow import check_value
from unigen.logprob import Kind

Chain = Callable[[Tensor | None], TorchDistribution]


class Emitted(TorchDistribution):
    """x ~ p(x | z), z ~ p(z), with the evidence of a chain as the density.

    Args:
        chain: x ↦ p(z | x), whose ``log_normaliser`` is log p(x); None ↦ p(z).
        emit: z ↦ p(x | z).
        event_shape: Shape of x.
        support: Set of x, or of one entry of it.
        batch_shape: Batch of the whole.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    kind = Kind.EXACT

    def __init__(
        self,
        chain: Chain,
        emit: Callable[[Tensor], TorchDistribution],
        event_shape: torch.Size,
        support: constraints.Constraint,
        batch_shape: torch.Size | tuple[int, ...] = (),
    ) -> None:
        self._chain, self._emit, self._support = chain, emit, support
        super().__init__(torch.Size(batch_shape), event_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The set on which the density lives."""
        rank = len(self.event_shape) - self._support.event_dim
        return constraints.independent(self._support, rank) if rank > 0 else self._support

    def expand(self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None) -> Emitted:
        """Return the same density with another batch shape."""
        return Emitted(self._chain, self._emit, self.event_shape, self._support, batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x) in nats, shape (...)."""
        check_value(self, value, "Emitted", real=False)
        return self._chain(value).log_normaliser  # pyright: ignore[reportAttributeAccessIssue]

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw a path and what it emits, shape (*sample_shape, *batch, *event)."""
        shape = torch.Size(sample_shape) + self.batch_shape
        with torch.no_grad():
            return self._emit(self._chain(None).sample(shape)).sample()
