"""EnergyDistribution: p(x) ∝ exp(−E(x)), scored without its normaliser and drawn by a given sampler."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.flow import check_value
from unigen.distributions.implicit import Draw
from unigen.errors import ShapeError, UnsupportedQueryError
from unigen.logprob import Kind


class EnergyDistribution(TorchDistribution):
    """log p(x) = −E(x) − log Z with log Z unknown: ``log_prob`` returns −E(x), kind unnormalised.

    Args:
        energy: E, maps (..., *event_shape) to (...), in nats.
        event_shape: Shape of one example.
        sampler: ``sampler(shape)`` returns draws (*shape, *event_shape); without one, ``sample`` refuses.
        batch_shape: Batch shape.
        support: Domain of E; the reals by default.
        name: Name of the program in messages.
        validate_args: Check the values given to ``log_prob``; torch's global setting if None.

    References:
        LeCun et al., A tutorial on energy-based learning, 2006.

    Example:
        >>> p = EnergyDistribution(lambda x: 0.5 * x.square().sum(-1), (2,))
        >>> p.log_prob(torch.ones(3, 2)), p.kind
        (tensor([-1., -1., -1.]), <Kind.UNNORMALISED: 'unnormalised'>)
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    kind = Kind.UNNORMALISED
    has_rsample = False
    costly = True

    def __init__(
        self,
        energy: Callable[[Tensor], Tensor],
        event_shape: torch.Size | tuple[int, ...],
        sampler: Draw | None = None,
        *,
        batch_shape: torch.Size | tuple[int, ...] = (),
        support: constraints.Constraint = constraints.real,
        name: str = "EnergyDistribution",
        validate_args: bool | None = None,
    ) -> None:
        self.energy, self.sampler, self._support, self.name = energy, sampler, support, name
        super().__init__(torch.Size(batch_shape), torch.Size(event_shape), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Domain of the energy, with the rank of the event."""
        rank = len(self.event_shape) - self._support.event_dim
        return constraints.independent(self._support, rank) if rank > 0 else self._support

    def expand(
        self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None
    ) -> EnergyDistribution:
        """Return the same distribution with another batch shape."""
        return EnergyDistribution(
            self.energy,
            self.event_shape,
            self.sampler,
            batch_shape=batch_shape,
            support=self._support,
            name=self.name,
            validate_args=self._validate_args,
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Return −E(x) in nats, up to the constant log Z.

        Raises:
            ShapeError: E does not return one number an example.
            DTypeError, SupportError: A value that cannot be scored.
        """
        check_value(self, value, self.name)
        batch = value.shape[: value.dim() - len(self.event_shape)]
        minus = -self.energy(value)
        if minus.shape != batch:
            raise ShapeError(
                "the energy must be one number an example",
                program=self.name,
                got=tuple(minus.shape),
                expected=tuple(batch),
                hint="E(x).squeeze(-1)",
            )
        return minus.expand(torch.broadcast_shapes(batch, self.batch_shape))

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw with the given sampler, shape (*sample_shape, *batch_shape, *event_shape).

        Raises:
            UnsupportedQueryError: No sampler was given.
            ShapeError: Its draws have another shape.
        """
        if self.sampler is None:
            raise UnsupportedQueryError(
                "an energy alone cannot be drawn from",
                program=self.name,
                hint="sampler=…, e.g. Langevin chains",
            )
        shape = torch.Size(sample_shape) + self.batch_shape
        with torch.no_grad():
            x = self.sampler(shape)
        if tuple(x.shape) != (*shape, *self.event_shape):
            raise ShapeError(
                program=self.name,
                site="x",
                got=tuple(x.shape),
                expected=(*shape, *self.event_shape),
                hint="sampler(shape) returns (*shape, *event_shape)",
            )
        return x
