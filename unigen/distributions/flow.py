"""FlowDistribution: the exact density of a base distribution seen through a bijection.

Notation: f maps data to noise, z = f(x | c); ``x`` has the event shape of the data, ``z`` that of the base.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import Transform, constraints

from unigen.distributions.bijection import inverse, inverse_and_log_det, value_and_log_det
from unigen.errors import ArgumentError, DTypeError, ShapeError, SupportError
from unigen.logprob import Kind


class FlowDistribution(TorchDistribution):
    """The distribution of x = f⁻¹(z), z ~ base, built anew for every call and without any cache.

        log p(x) = log p_base(f(x)) + log |det ∂f/∂x|

    Args:
        transform: f, from data to noise. Its own batch (that of a context) must broadcast with ``batch_shape``.
        base: Distribution of z; its ``event_shape`` is that of f(x).
        batch_shape: Batch of the whole; by default that of the base. Pass ``context.shape[:-1]``
            where the transform was built from a context.
        support: Set of the data; by default the domain of the transform.
        name: What messages call it.
        validate_args: Check the values given to ``log_prob``; torch's global setting if None.

    Raises:
        ArgumentError: The transform is not a bijection, or acts on events of another rank than the base's.

    References:
        Papamakarios et al., Normalizing flows for probabilistic modeling and inference, JMLR 2021.

    Example:
        >>> import pyro.distributions as dist
        >>> from torch.distributions import ExpTransform
        >>> p = FlowDistribution(ExpTransform().inv, dist.Normal(0.0, 1.0))
        >>> torch.allclose(p.log_prob(torch.tensor(2.0)), dist.LogNormal(0.0, 1.0).log_prob(torch.tensor(2.0)))
        True
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    kind = Kind.EXACT

    def __init__(
        self,
        transform: Transform,
        base: TorchDistribution,
        *,
        batch_shape: torch.Size | tuple[int, ...] | None = None,
        support: constraints.Constraint | None = None,
        name: str = "FlowDistribution",
        validate_args: bool | None = None,
    ) -> None:
        if not transform.bijective:
            raise ArgumentError(
                "this map has no density",
                program=name,
                site="transform",
                got=not_bijective(transform),
                expected="a bijection",
            )
        self.transform, self.name = transform, name
        missing = transform.codomain.event_dim - len(base.event_shape)
        base = base.to_event(missing) if missing > 0 else base
        self.base = base if batch_shape is None else base.expand(torch.Size(batch_shape))
        self._surplus = max(-missing, 0)
        self._support = support
        event_shape = torch.Size(transform.inverse_shape(self.base.event_shape))
        super().__init__(self.base.batch_shape, event_shape, validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether draws carry gradients: they do if those of the base do."""
        return self.base.has_rsample

    @property
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The set on which the density lives, with the rank of the event."""
        inner = self._support if self._support is not None else self.transform.domain
        rank = len(self.event_shape) - inner.event_dim
        return constraints.independent(inner, rank) if rank > 0 else inner

    def expand(self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None) -> FlowDistribution:
        """Return the same density with another batch shape; the transform is shared."""
        return FlowDistribution(
            self.transform,
            self.base,
            batch_shape=batch_shape,
            support=self._support,
            name=self.name,
            validate_args=self._validate_args,
        )

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw f⁻¹(z) with gradients, shape (*sample_shape, *batch_shape, *event_shape)."""
        return inverse(self.transform, self.base.rsample(torch.Size(sample_shape)))

    def rsample_and_log_prob(
        self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()
    ) -> tuple[Tensor, Tensor]:
        """Draw with gradients, and return log p of the draw: for inverse layers at the price of the draw alone."""
        z = self.base.rsample(torch.Size(sample_shape))
        x, ladj = inverse_and_log_det(self.transform, z)
        if self._surplus:
            ladj = ladj.sum(tuple(range(-self._surplus, 0)))
        return x, self.base.log_prob(z) - ladj

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw f⁻¹(z) without gradients, shape (*sample_shape, *batch_shape, *event_shape)."""
        with torch.no_grad():
            return inverse(self.transform, self.base.sample(torch.Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x) in nats, shape of the broadcast of batch_shape with the batch of ``value``.

        Raises:
            ShapeError: The last dimensions are not ``event_shape``.
            DTypeError: The values are integers.
            SupportError: A value lies outside the support (only if validation is on).
        """
        check_value(self, value, self.name)
        if value.dim() < len(self.batch_shape) + len(self.event_shape):  # one value under several contexts
            batch = value.shape[: value.dim() - len(self.event_shape)]
            value = value.expand(*torch.broadcast_shapes(batch, self.batch_shape), *self.event_shape)
        z, ladj = value_and_log_det(self.transform, value)
        if self._surplus:
            ladj = ladj.sum(tuple(range(-self._surplus, 0)))
        return self.base.log_prob(z) + ladj


def not_bijective(transform: Transform) -> str:
    """Return the class of the first part that is no bijection."""
    parts = getattr(transform, "transforms", getattr(transform, "parts", ()))
    for part in (*parts, *(p for p in (getattr(transform, "inner", None),) if p is not None)):
        if not part.bijective:
            return not_bijective(part)
    return type(transform).__name__


def check_value(dist: TorchDistribution, value: Tensor, name: str, *, real: bool = True) -> None:
    """Refuse a value of the wrong shape or type, and one off the support where validation is on.

    Args:
        dist: The distribution about to score the value.
        value: Tensor (..., *event_shape).
        name: Name used in the message.
        real: Whether floating-point values are required.

    Raises:
        ShapeError: The last dimensions are not ``dist.event_shape``, or the batches do not broadcast.
        DTypeError: Integers where reals are needed.
        SupportError: A value outside ``dist.support`` (only if validation is on).
    """
    rank, event = len(dist.event_shape), tuple(dist.event_shape)
    if value.dim() < rank or tuple(value.shape[value.dim() - rank :]) != event:
        raise ShapeError(program=name, site="x", got=tuple(value.shape), expected=f"(..., *{event})")
    if real and not value.is_floating_point():
        raise DTypeError(program=name, site="x", got=value.dtype, expected="a floating-point type")
    if not dist._validate_args:
        return
    batch = tuple(value.shape[: value.dim() - rank])
    for a, b in zip(reversed(batch), reversed(tuple(dist.batch_shape)), strict=False):
        if a != b and a != 1 and b != 1:
            raise ShapeError(
                "the batches do not broadcast",
                program=name,
                site="x",
                got=batch,
                expected=tuple(dist.batch_shape),
            )
    inside = dist.support.check(value)
    if not torch._is_all_true(inside):
        raise SupportError(
            f"{int((~inside).sum())} of {inside.numel()} values lie outside the support",
            program=name,
            site="x",
            expected=dist.support,
            hint="map the data into the support first, or give the program another support",
        )
