"""Counts 0, 1, 2, … as the conditional of one feature: Poisson, and negative binomial where they are more dispersed.

Notation: λ_i and μ_i means, r_i the number of failures of the negative binomial. Networks are fed log(1 + x).
"""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.likelihoods import Likelihood

LOG_LIMIT = 30.0  # largest size of a logarithm: a stray output of a network is then no infinity


class Counts(Likelihood):
    """A head for counts."""

    support = constraints.nonnegative_integer

    def encode(self, x: Tensor) -> Tensor:
        """Return log(1 + x), shape (..., D)."""
        return torch.log1p(x)


class Poisson(Counts):
    """x_i ~ Poisson(λ_i), log λ_i = raw_i.

    Example:
        >>> Poisson()(torch.zeros(7, 4), (4,)).log_prob(torch.ones(7, 4))[0]
        tensor(-4.)
    """

    def __init__(self) -> None:  # an explicit signature: checkpoints write constructor arguments down
        super().__init__()

    def elementwise(self, raw: Tensor, event_shape: torch.Size) -> TorchDistribution:
        """Return Poisson(exp raw)."""
        return dist.Poisson(raw[..., 0].clamp(-LOG_LIMIT, LOG_LIMIT).exp())

    def marginals(self, x: Tensor) -> Tensor:
        """Return the logarithm of the means, half a count added to each sum."""
        return ((x.sum(0) + 0.5) / x.shape[0]).log()[:, None]


class NegativeBinomial(Counts):
    """x_i with mean μ_i and variance μ_i + μ_i² / r_i, (log μ_i, log r_i) = raw_i; Poisson as r → ∞.

        p(x) = Γ(x + r) / (Γ(r) x!) (r / (r + μ))^r (μ / (r + μ))^x

    References:
        Hilbe, Negative binomial regression, 2011 (its NB2); Lopez et al., scVI, Nature Methods 2018.

    Example:
        >>> NegativeBinomial()(torch.zeros(2), (1,)).variance
        tensor([2.])
    """

    parameters_per_feature = 2

    def __init__(self) -> None:
        super().__init__()

    def elementwise(self, raw: Tensor, event_shape: torch.Size) -> TorchDistribution:
        """Return the negative binomial of mean exp(raw_0) and r = exp(raw_1)."""
        log_mean, log_r = raw.clamp(-LOG_LIMIT, LOG_LIMIT).unbind(-1)
        return dist.NegativeBinomial(total_count=log_r.exp(), logits=log_mean - log_r)

    def marginals(self, x: Tensor) -> Tensor:
        """Return log means, and log r by the moments: r = μ² / (variance − μ), at most 10⁴."""
        mean = (x.sum(0) + 0.5) / x.shape[0]
        excess = (x.var(0, correction=0) - mean).clamp_min(1e-4 * mean.square())
        return torch.stack((mean.log(), (mean.square() / excess).log()), -1)
