"""Implicit: a distribution that can be drawn from but has no density, such as the output of a generator.

Notation: x = G(z) with z from a base distribution and G a generator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NoReturn

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from unigen.errors import NoDensityError, ShapeError, UnsupportedQueryError

Draw = Callable[[torch.Size], Tensor]


class Implicit(TorchDistribution):
    """Draws without a density.

    Args:
        event_shape: Shape of one example.
        sampler: ``sampler(shape)`` returns draws (*shape, *event_shape), where ``shape`` ends in ``batch_shape``.
        batch_shape: Batch shape.
        support: Set in which the draws lie; the reals by default.
        reparameterised: Whether gradients flow through the sampler.
        name: Name of the program in messages.

    Raises:
        NoDensityError: From ``log_prob``, always.

    Example:
        >>> Implicit((2,), lambda shape: torch.rand(*shape, 2)).sample((5,)).shape
        torch.Size([5, 2])
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    kind = None

    def __init__(
        self,
        event_shape: torch.Size | tuple[int, ...],
        sampler: Draw,
        *,
        batch_shape: torch.Size | tuple[int, ...] = (),
        support: constraints.Constraint = constraints.real,
        reparameterised: bool = True,
        name: str = "Implicit",
    ) -> None:
        self.sampler, self._support, self.reparameterised, self.name = sampler, support, reparameterised, name
        super().__init__(torch.Size(batch_shape), torch.Size(event_shape), validate_args=False)

    @property
    def has_rsample(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether draws carry gradients."""
        return self.reparameterised

    @property
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The set in which draws lie, with the rank of the event."""
        rank = len(self.event_shape) - self._support.event_dim
        return constraints.independent(self._support, rank) if rank > 0 else self._support

    def expand(self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None) -> Implicit:
        """Return the same distribution with another batch shape."""
        return Implicit(
            self.event_shape,
            self.sampler,
            batch_shape=batch_shape,
            support=self._support,
            reparameterised=self.reparameterised,
            name=self.name,
        )

    def _draw(self, sample_shape: torch.Size | tuple[int, ...]) -> Tensor:
        shape = torch.Size(sample_shape) + self.batch_shape
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

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw without gradients, shape (*sample_shape, *batch_shape, *event_shape)."""
        with torch.no_grad():
            return self._draw(sample_shape)

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw with gradients, shape (*sample_shape, *batch_shape, *event_shape).

        Raises:
            UnsupportedQueryError: The sampler is not reparameterised.
        """
        if not self.reparameterised:
            raise UnsupportedQueryError("these draws carry no gradient", program=self.name, hint="sample")
        return self._draw(sample_shape)

    def log_prob(self, value: Tensor) -> NoReturn:
        """Refuse: there is no density.

        Raises:
            NoDensityError: Always.
        """
        raise NoDensityError(
            "a sampler alone has no density",
            program=self.name,
            site="x",
            hint="compare draws with a two-sample metric (MMD, Wasserstein), or use a family with a density "
            "(NSF, VAE, diffusion)",
        )


def pushforward(
    generator: Callable[[Tensor], Tensor],
    base: TorchDistribution,
    event_shape: torch.Size | tuple[int, ...],
    *,
    support: constraints.Constraint = constraints.real,
    name: str = "Pushforward",
) -> Implicit:
    """Return the distribution of G(z), z ~ base, with the base's batch shape and gradients.

    Args:
        generator: G, maps (..., *base.event_shape) to (..., *event_shape).
        base: Distribution of z.
        event_shape: Shape of one x.
        support: Set in which G(z) lies.
        name: Name of the program in messages.
    """

    def draw(shape: torch.Size) -> Tensor:
        z = base.expand(shape)
        return generator(z.rsample() if base.has_rsample else z.sample())

    return Implicit(
        event_shape,
        draw,
        batch_shape=base.batch_shape,
        support=support,
        reparameterised=base.has_rsample,
        name=name,
    )
