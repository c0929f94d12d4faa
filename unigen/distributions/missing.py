"""Examples with missing entries, marked by NaN: the density of the entries that are there.

Notation: o_i = 1 where entry i of x is observed. For independent entries given the parameters,

    log p(x_obs) = Σ_i o_i log p(x_i),

which is the likelihood of the observed data where entries are missing at random.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import Independent, transform_to
from torch.distributions.constraints import Constraint

from unigen.errors import ArgumentError


class ObservedPart(Constraint):
    """The set of x whose observed entries lie in a support; NaN entries are missing.

    Args:
        base_constraint: The support of complete examples, of independent entries.

    Example:
        >>> from torch.distributions import constraints
        >>> ObservedPart(constraints.unit_interval).check(torch.tensor([0.5, torch.nan, 2.0]))
        tensor([ True,  True, False])
    """

    allows_missing = True

    def __init__(self, base_constraint: Constraint) -> None:
        self.base_constraint = base_constraint
        super().__init__()

    @property
    def is_discrete(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the entries are integers."""
        return self.base_constraint.is_discrete

    @property
    def event_dim(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Dimensions of one example."""
        return self.base_constraint.event_dim

    def check(self, value: Tensor) -> Tensor:
        """Return whether the observed entries are inside, one truth value an example."""
        inside = entry_support(self.base_constraint).check(value) | value.isnan()
        return inside.flatten(-self.event_dim).all(-1) if self.event_dim else inside

    def __repr__(self) -> str:
        """Return the support and the exception."""
        return f"{self.base_constraint}, or NaN where missing"


def entry_support(support: Constraint) -> Constraint:
    """Return the support of a single entry."""
    while inner := getattr(support, "base_constraint", None):
        support = inner
    return support


def placeholder(support: Constraint, like: Tensor) -> Tensor:
    """Return a number inside the support of one entry, of the dtype of ``like``."""
    if support.is_discrete:
        return like.new_zeros(()) + getattr(support, "lower_bound", 0)
    return transform_to(support)(like.new_zeros(()))


class WithMissing(TorchDistribution):
    """A distribution of independent entries whose ``log_prob`` takes NaN for a missing entry and leaves it out.

    Samples, mean and shapes are those of the base. No gradient is ever NaN: missing entries are filled before
    the density is computed, and their terms replaced after it.

    Args:
        base_dist: Independent entries, ``.to_event(k)``, or a batch of scalars.

    Raises:
        ArgumentError: The event shape does not come from ``to_event``: the entries depend on one another.

    References:
        Little & Rubin, Statistical analysis with missing data, 2019, ch. 6.

    Example:
        >>> import pyro.distributions as dist
        >>> p = WithMissing(dist.Normal(torch.zeros(2), 1.0).to_event(1))
        >>> p.log_prob(torch.tensor([[0.0, 0.0], [0.0, torch.nan], [torch.nan, torch.nan]]))
        tensor([-1.8379, -0.9189,  0.0000])
    """

    arg_constraints: ClassVar[dict[str, Constraint]] = {}

    def __init__(self, base_dist: Any, validate_args: bool | None = None) -> None:
        entries, events = base_dist, 0
        while isinstance(entries, Independent):
            entries, events = entries.base_dist, events + entries.reinterpreted_batch_ndims
        if entries.event_shape:
            raise ArgumentError(
                "entries that depend on one another cannot be left out one by one",
                got=f"{type(base_dist).__name__} with event shape {tuple(base_dist.event_shape)}",
                expected="independent entries",
                hint="dist.Normal(loc, scale).to_event(1)",
            )
        self.base_dist, self._entries, self._events = base_dist, entries, events
        super().__init__(base_dist.batch_shape, base_dist.event_shape, validate_args=validate_args)

    @property
    def support(self) -> Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Support of the base, or NaN."""
        return ObservedPart(self.base_dist.support)

    @property
    def has_rsample(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether draws carry a gradient."""
        return self.base_dist.has_rsample

    @property
    def mean(self) -> Tensor:
        """Mean of the base."""
        return self.base_dist.mean

    @property
    def variance(self) -> Tensor:
        """Variance of the base."""
        return self.base_dist.variance

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> WithMissing:
        """Return the same distribution with a larger batch shape."""
        return WithMissing(self.base_dist.expand(torch.Size(batch_shape)), validate_args=False)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        """Return complete draws."""
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        """Return complete draws with a gradient."""
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return Σ_i o_i log p(x_i) in nats, shape (...); 0 where nothing is observed."""
        missing = value.isnan()
        filled = torch.where(missing, placeholder(entry_support(self._entries.support), value), value)
        each = self._entries.log_prob(filled)
        each = torch.where(missing, torch.zeros_like(each), each)
        return each.flatten(-self._events).sum(-1) if self._events else each


def entries(scalars: TorchDistribution, missing: bool | None) -> TorchDistribution:
    """Return a batch of scalars as vectors, with missing entries left out of the density if there may be some."""
    vectors = scalars.to_event(1)
    return WithMissing(vectors) if missing else vectors
