"""Paths drawn step after step from networks: z_t ~ N(m(z_{t−1}, h_t), diag s(z_{t−1}, h_t)²).

Notation: T steps, L latents; h_t (..., T, H) what is known at each step (nothing for a prior, a summary of the data
for a posterior). Given the whole path every step is scored in parallel; drawing takes T steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.flow import check_value
from unigen.logprob import Kind


class GaussianPath(TorchDistribution):
    """The distribution of z_{1:T} ∈ R^{T×L} with Gaussian steps whose moments are any function of the step before.

        p(z_{1:T} | h) = Π_t N(z_t; m(z_{t−1}, h_t), diag s(z_{t−1}, h_t)²),   z_0 given

    Args:
        step: (z_{t−1} (..., L), h_t (..., H) or None) ↦ (m, s), each (..., L).
        start: z_0, shape (L,).
        length: T.
        known: h, shape (*batch, T, H), or None.
        batch_shape: By default that of ``known``.

    References:
        Krishnan, Shalit & Sontag, Structured inference networks for nonlinear state space models, 2017.

    Example:
        >>> walk = GaussianPath(lambda z, h: (z, torch.ones_like(z)), torch.zeros(1), 3)
        >>> round(float(walk.log_prob(torch.zeros(3, 1))), 4)  # 3 log N(0; 0, 1)
        -2.7568
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    kind = Kind.EXACT
    has_rsample = True

    def __init__(
        self,
        step: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]],
        start: Tensor,
        length: int,
        known: Tensor | None = None,
        *,
        batch_shape: torch.Size | tuple[int, ...] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.step, self.start, self.known = step, start, known
        batch = torch.Size() if known is None else known.shape[:-2]
        batch = batch if batch_shape is None else torch.Size(batch_shape)
        super().__init__(batch, torch.Size((length, start.shape[-1])), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """R^{T×L}."""
        return constraints.independent(constraints.real, 2)

    def expand(self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None) -> GaussianPath:
        """Return the same distribution with another batch shape."""
        return GaussianPath(
            self.step, self.start, self.event_shape[0], self.known, batch_shape=batch_shape,
            validate_args=self._validate_args,
        )  # fmt: skip

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(z_{1:T}) in nats for z (..., T, L), all steps at once."""
        check_value(self, value, "GaussianPath")
        first = self.start.expand(*value.shape[:-2], 1, self.event_shape[1])
        loc, scale = self.step(torch.cat((first, value[..., :-1, :]), -2), self.known)
        return dist.Normal(loc, scale, validate_args=False).log_prob(value).sum((-1, -2))

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw with gradients, step after step, shape (*sample_shape, *batch, T, L)."""
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        eps = torch.randn(shape, dtype=self.start.dtype, device=self.start.device)
        z, path = self.start.expand(*shape[:-2], shape[-1]), []
        for t in range(self.event_shape[0]):
            loc, scale = self.step(z, None if self.known is None else self.known[..., t, :])
            z = loc + scale * eps[..., t, :]
            path.append(z)
        return torch.stack(path, -2)
