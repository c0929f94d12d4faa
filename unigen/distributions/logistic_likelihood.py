"""A mixture of logistic distributions as the conditional of one feature: reals, or integers of ordered levels."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.likelihoods import Likelihood
from unigen.distributions.logistic_mixture import LogisticMixture
from unigen.distributions.scales import FLOOR, positive, raw_scale
from unigen.errors import ArgumentError


class MixtureOfLogistics(Likelihood):
    """F(x_i) = Σ_k w_ik σ((x_i − m_ik) / s_ik): three parameters a component, log-weight, mean and ρ.

    With ``levels`` the values are the integers 0 … L−1, a level has the mass of its bin, and the network is fed
    2x/(L−1) − 1 in [−1, 1], the unit of m and s too.

    Args:
        components: K.
        levels: L, or None for real values.
        floor: Smallest scale.

    Raises:
        ArgumentError: K < 1, L < 2, or a floor outside (0, 1).

    References:
        Salimans, Karpathy, Chen & Kingma, PixelCNN++, ICLR 2017.

    Example:
        >>> MixtureOfLogistics(5, levels=256)(torch.zeros(2, 15), (1,)).log_prob(torch.zeros(2, 1)).shape
        torch.Size([2])
    """

    def __init__(self, components: int = 5, levels: int | None = None, *, floor: float = FLOOR) -> None:
        super().__init__()
        if components < 1 or not 0 < floor < 1:
            raise ArgumentError(
                program="MixtureOfLogistics",
                got=(components, floor),
                expected="components ≥ 1 and 0 < floor < 1",
            )
        if levels is not None and levels < 2:
            raise ArgumentError(
                program="MixtureOfLogistics", site="levels", got=levels, expected="≥ 2 or None"
            )
        self.components, self.levels, self.floor = components, levels, floor
        self.parameters_per_feature = 3 * components
        if levels is not None:
            self.support = constraints.integer_interval(0, levels - 1)

    def elementwise(self, raw: Tensor, event_shape: torch.Size) -> LogisticMixture:
        """Return the mixture."""
        logits, loc, rho = raw.chunk(3, dim=-1)
        return LogisticMixture(logits, loc, positive(rho, self.floor), self.levels)

    def encode(self, x: Tensor) -> Tensor:
        """Return x, levels scaled to [−1, 1]."""
        if self.levels is None:
            return x
        x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        return x * (2.0 / (self.levels - 1)) - 1.0

    def marginals(self, x: Tensor) -> Tensor:
        """Return equal weights, means at the quantiles (k + ½)/K, and scales of a standard deviation over K."""
        k, x = self.components, self.encode(x)
        at = (torch.arange(k, dtype=x.dtype, device=x.device) + 0.5) / k
        means = torch.quantile(x[:10_000], at, dim=0).mT
        rho = raw_scale(x.std(0) * (math.sqrt(3) / math.pi / k), self.floor)[:, None].expand(-1, k)
        return torch.cat((torch.zeros_like(means), means, rho), -1)

    def extra_repr(self) -> str:
        """Return the number of components and levels."""
        return f"components={self.components}, levels={self.levels}, floor={self.floor:g}"
