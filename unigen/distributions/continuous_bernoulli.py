"""The continuous Bernoulli as the conditional of one feature in [0, 1]: grey levels scored as densities."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.likelihoods import Likelihood

HALVINGS = 60  # of the interval that holds a logit
LARGEST = 50.0  # logit of starting values


class ContinuousBernoulli(Likelihood):
    """x_i ∈ [0, 1] with density C(λ_i) λ_i^x (1 − λ_i)^(1−x), the logit of λ_i being raw_i.

    The Bernoulli of values between 0 and 1 is no density: it lacks C(λ), which makes the integral one.

    References:
        Loaiza-Ganem & Cunningham, The continuous Bernoulli, NeurIPS 2019.

    Example:
        >>> ContinuousBernoulli()(torch.zeros(3), (3,)).log_prob(torch.rand(3)).abs() < 1e-5
        tensor(True)
    """

    support = constraints.unit_interval
    reparameterised = True

    def __init__(self) -> None:  # an explicit signature: checkpoints write constructor arguments down
        super().__init__()

    def elementwise(self, raw: Tensor, event_shape: torch.Size) -> TorchDistribution:
        """Return ContinuousBernoulli(logits)."""
        return dist.ContinuousBernoulli(logits=raw[..., 0])

    def marginals(self, x: Tensor) -> Tensor:
        """Return the logits whose means are those of x: maximum likelihood, found by halving an interval."""
        low = x.new_full(x.shape[1:], -LARGEST)
        high = -low
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = dist.ContinuousBernoulli(logits=middle).mean < x.mean(0)
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return ((low + high) / 2)[:, None]
