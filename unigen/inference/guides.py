"""Families of q over R^D for variational inference, each for M problems side by side.

diagonal      N(m, diag s²)
lowrank       N(m, W Wᵀ + diag s²)
multivariate  N(m, L Lᵀ)
a program     u = m + s v,  v ~ any program with an exact density, such as a flow
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from unigen.distributions.flow import FlowDistribution
from unigen.errors import NoDensityError
from unigen.program import Program

FIRST_SCALE = 0.1  # sd of q at the start, on the reals


class Guide(nn.Module, ABC):
    """A trainable q(u).

    Args:
        like: Zeros, shape (M, D), of the wanted dtype and device.
    """

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.loc = nn.Parameter(like.clone())
        self.log_scale = nn.Parameter(torch.full_like(like, math.log(FIRST_SCALE)))

    @abstractmethod
    def distribution(self) -> TorchDistribution:
        """Return q, batch shape (M,), event shape (D,), with pathwise gradients."""


class Diagonal(Guide):
    """N(m, diag s²)."""

    def distribution(self) -> TorchDistribution:
        """Return q."""
        return dist.Normal(self.loc, self.log_scale.exp()).to_event(1)


class LowRank(Guide):
    """N(m, W Wᵀ + diag s²), W of rank ⌈√D⌉."""

    def __init__(self, like: Tensor) -> None:
        super().__init__(like)
        m, d = like.shape
        rank = math.ceil(math.sqrt(d))
        noise = torch.randn(m, d, rank, dtype=like.dtype).to(like.device)
        self.factor = nn.Parameter(0.1 * FIRST_SCALE * noise)

    def distribution(self) -> TorchDistribution:
        """Return q."""
        return dist.LowRankMultivariateNormal(self.loc, self.factor, (2 * self.log_scale).exp())


class Multivariate(Guide):
    """N(m, L Lᵀ), L = diag(s) (I + strictly lower triangle)."""

    def __init__(self, like: Tensor) -> None:
        super().__init__(like)
        m, d = like.shape
        self.lower = nn.Parameter(like.new_zeros(m, d, d))

    def distribution(self) -> TorchDistribution:
        """Return q."""
        unit = self.lower.tril(-1) + torch.eye(
            self.loc.shape[1], dtype=self.loc.dtype, device=self.loc.device
        )
        return dist.MultivariateNormal(self.loc, scale_tril=self.log_scale.exp()[..., None] * unit)


class OfProgram(Guide):
    """q of a program with an exact density and pathwise draws, moved and scaled.

    Args:
        like: As for ``Guide``; M = 1.
        program: Of D features.

    Raises:
        NoDensityError: Its density is no closed form, or its draws carry no gradient.
    """

    def __init__(self, like: Tensor, program: Program) -> None:
        super().__init__(like)
        self.program = program.to(dtype=like.dtype, device=like.device)
        if not program.has_marginal or not program.marginal().has_rsample:
            raise NoDensityError(
                "a guide needs an exact density and draws with gradients", program=program.name,
                hint="a flow: lambda features: ug.NSF(features)",
            )  # fmt: skip

    def distribution(self) -> TorchDistribution:
        """Return q."""
        move = torch.distributions.AffineTransform(self.loc[0], self.log_scale[0].exp(), event_dim=1)
        return FlowDistribution(
            move.inv, self.program.marginal().expand((1,)), support=dist.constraints.real_vector
        )
