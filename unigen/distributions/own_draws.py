"""A posterior that knows the log density of the draw it has just made.

    z = g(eps),   log q(z) = log p(eps) − log |det ∂g/∂eps|

A guide scores its own draws and no others. An inverse autoregressive flow draws in one pass and finds the noise behind
a given z in L small steps; here the noise of its own draw is at hand.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints


class OwnDraws(TorchDistribution):
    """A distribution whose ``log_prob`` of the last draw, once, is what ``rsample_and_log_prob`` gave with it.

    Value and gradient are those of the distribution itself.

    Args:
        base: A distribution with ``rsample_and_log_prob``.

    References:
        Kingma et al., Improving variational inference with inverse autoregressive flow, NeurIPS 2016.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True

    def __init__(self, base: Any) -> None:
        self.base, self.kind, self.label = base, base.kind, getattr(base, "label", None)
        self._last: tuple[Tensor, Tensor] | None = None
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Support of the distribution."""
        return self.base.support

    def expand(self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None) -> OwnDraws:
        """Return the same with another batch shape."""
        return OwnDraws(self.base.expand(torch.Size(batch_shape)))

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw with gradients, shape (*sample_shape, *batch_shape, *event_shape)."""
        self._last = self.base.rsample_and_log_prob(sample_shape)
        return self._last[0]

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw without gradients, shape (*sample_shape, *batch_shape, *event_shape)."""
        return self.base.sample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log q(value) in nats, shape of the batch."""
        last, self._last = self._last, None
        return last[1] if last is not None and value is last[0] else self.base.log_prob(value)


def own_draws(q: TorchDistribution) -> TorchDistribution:
    """Return q, as ``OwnDraws`` where its draws come with their log density."""
    return OwnDraws(q) if q.has_rsample and hasattr(q, "rsample_and_log_prob") else q
