"""A mixture of Gaussians as the conditional of one feature."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from unigen.distributions.likelihoods import Likelihood
from unigen.distributions.scales import FLOOR, positive, raw_scale
from unigen.errors import ArgumentError


class MixtureOfGaussians(Likelihood):
    """p(x_i) = Σ_k w_ik N(x_i; m_ik, σ_ik²): three parameters a component, log-weight, mean and ρ.

    Args:
        components: K.
        floor: Smallest scale.

    Raises:
        ArgumentError: K < 1, or a floor outside (0, 1).

    References:
        Uria, Murray & Larochelle, RNADE, NeurIPS 2013.
    """

    def __init__(self, components: int = 8, *, floor: float = FLOOR) -> None:
        super().__init__()
        if components < 1 or not 0 < floor < 1:
            raise ArgumentError(
                program="MixtureOfGaussians",
                got=(components, floor),
                expected="components ≥ 1 and 0 < floor < 1",
            )
        self.components, self.floor, self.parameters_per_feature = components, floor, 3 * components

    def elementwise(self, raw: Tensor, event_shape: torch.Size) -> TorchDistribution:
        """Return the mixture."""
        logits, loc, rho = raw.chunk(3, dim=-1)
        normal = dist.Normal(loc, positive(rho, self.floor))
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), normal)

    def marginals(self, x: Tensor) -> Tensor:
        """Return equal weights, means at the quantiles (k + ½)/K, and scales of a standard deviation over K."""
        k = self.components
        at = (torch.arange(k, dtype=x.dtype, device=x.device) + 0.5) / k
        means = torch.quantile(x[:10_000], at, dim=0).mT
        rho = raw_scale(x.std(0) / k, self.floor)[:, None].expand(-1, k)
        return torch.cat((torch.zeros_like(means), means, rho), -1)

    def extra_repr(self) -> str:
        """Return the number of components."""
        return f"components={self.components}, floor={self.floor:g}"
