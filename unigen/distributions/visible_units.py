"""Visible units of a restricted Boltzmann machine: p(x | a) given the input a that the hidden units send.

    p(x | a) = exp(log f(x) + t(x)·a − A(a)),    A(a) = log Σ_x exp(log f(x) + t(x)·a)

Notation: x (…, D), a (…, D), t what the weights see of x, f the base measure. For annealing each kind knows a reference
r(x), independent features fitted to data, and the conditional between both, ∝ r(x)^{1−β} (f(x) exp(t(x)·a))^β.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn.functional import softplus

from unigen.distributions.scales import positive, raw_scale
from unigen.errors import ArgumentError

SMOOTHING = 0.5  # pseudo-counts of each value of a bit, so that no reference probability is 0 or 1


class VisibleUnits(nn.Module, ABC):
    """Features that are independent given the hidden units.

    Args:
        features: D.

    Raises:
        ArgumentError: D < 1.
    """

    support: constraints.Constraint = constraints.real  # of one feature
    finite = False  # whether the states of x can be enumerated

    def __init__(self, features: int) -> None:
        super().__init__()
        if isinstance(features, bool) or not isinstance(features, int) or features < 1:
            raise ArgumentError(
                program=type(self).__name__, site="features", got=features, expected="a positive integer"
            )
        self.features = features

    @abstractmethod
    def statistic(self, x: Tensor) -> Tensor:
        """Return t(x), shape (…, D)."""

    @abstractmethod
    def log_base(self, x: Tensor) -> Tensor:
        """Return log f(x) in nats, shape (…)."""

    @abstractmethod
    def log_partition(self, a: Tensor) -> Tensor:
        """Return A(a) in nats, shape (…)."""

    @abstractmethod
    def conditional(self, a: Tensor, beta: float = 1.0) -> TorchDistribution:
        """Return the conditional at β, batch shape (…, D), event shape (); β = 1 is p(x | a)."""

    @abstractmethod
    def draw(self, a: Tensor, beta: float = 1.0) -> Tensor:
        """Return one draw of the conditional at β, shape (…, D), without gradients."""

    @abstractmethod
    def reference(self) -> TorchDistribution:
        """Return r, batch shape (D,), event shape ()."""

    @abstractmethod
    def initialise(self, x: Tensor) -> None:
        """Fit r and the starting values to data x (N, D)."""

    def log_reference(self, x: Tensor) -> Tensor:
        """Return log r(x) in nats, shape (…)."""
        return self.reference().log_prob(x).sum(-1)


class BernoulliUnits(VisibleUnits):
    """x_i ∈ {0, 1}, t(x) = x − μ, log f(x) = b·x: p(x_i = 1 | a) = σ(b_i + a_i).

    μ are the frequencies in the data (½ before): centring changes the coordinates in which the weights are learned,
    not the family of distributions.

    Args:
        features: D.

    References:
        Montavon & Müller, Deep Boltzmann machines and the centering trick, 2012.

    Example:
        >>> BernoulliUnits(3).conditional(torch.zeros(2, 3)).probs.shape
        torch.Size([2, 3])
    """

    support = constraints.boolean
    finite = True
    mean: Tensor

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("mean", torch.full((features,), 0.5))

    def statistic(self, x: Tensor) -> Tensor:
        """Return x − μ."""
        return x - self.mean

    def log_base(self, x: Tensor) -> Tensor:
        """Return b·x."""
        return x @ self.bias

    def log_partition(self, a: Tensor) -> Tensor:
        """Return Σ_i log(1 + exp(b_i + a_i)) − μ·a."""
        return softplus(self.bias + a).sum(-1) - a @ self.mean

    def _logits(self, a: Tensor, beta: float) -> Tensor:
        logits = self.bias + a
        return logits if beta == 1.0 else beta * logits + (1.0 - beta) * self.mean.logit()

    def conditional(self, a: Tensor, beta: float = 1.0) -> TorchDistribution:
        """Return Bernoulli(σ(β (b + a) + (1 − β) logit μ))."""
        return dist.Bernoulli(logits=self._logits(a, beta))

    @torch.no_grad()
    def draw(self, a: Tensor, beta: float = 1.0) -> Tensor:
        """Return zeros and ones."""
        p = self._logits(a, beta).sigmoid()
        return (torch.rand_like(p) < p).to(p.dtype)

    def reference(self) -> TorchDistribution:
        """Return Bernoulli(μ)."""
        return dist.Bernoulli(self.mean)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set μ to the smoothed frequencies and b to their logits."""
        self.mean.copy_((x.sum(0) + SMOOTHING) / (x.shape[0] + 2 * SMOOTHING))
        self.bias.copy_(self.mean.logit())


class GaussianUnits(VisibleUnits):
    """x_i real, t(x) = (x − b)/σ, log f(x) = −½ ‖t(x)‖²: p(x | a) = N(b + σ a, σ²).

    Args:
        features: D.
        scale: σ of all features; None: one is learned for each, beginning at the data's standard deviation.

    Raises:
        ArgumentError: D < 1, or a scale that is not positive and finite.

    Example:
        >>> GaussianUnits(2, 0.5).conditional(torch.ones(2)).loc
        tensor([0.5000, 0.5000], grad_fn=<AddBackward0>)
    """

    loc: Tensor
    spread: Tensor

    def __init__(self, features: int, scale: float | None = None) -> None:
        super().__init__(features)
        if scale is not None and not 0 < scale < math.inf:
            raise ArgumentError(
                program="GaussianUnits", site="scale", got=scale, expected="a positive number, or None"
            )
        self.scale = scale
        self.bias = nn.Parameter(torch.zeros(features))
        self.raw = None if scale is not None else nn.Parameter(raw_scale(torch.ones(features)))
        self.register_buffer("loc", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))

    @property
    def sigma(self) -> Tensor:
        """σ, shape (D,)."""
        return (
            torch.full_like(self.bias, float(self.scale or 1.0)) if self.raw is None else positive(self.raw)
        )

    def statistic(self, x: Tensor) -> Tensor:
        """Return (x − b)/σ."""
        return (x - self.bias) / self.sigma

    def log_base(self, x: Tensor) -> Tensor:
        """Return −½ ‖(x − b)/σ‖²."""
        return -0.5 * self.statistic(x).square().sum(-1)

    def log_partition(self, a: Tensor) -> Tensor:
        """Return ½ ‖a‖² + Σ_i log(σ_i √2π)."""
        constant = self.sigma.log().sum() + 0.5 * self.features * math.log(2 * math.pi)
        return 0.5 * a.square().sum(-1) + constant

    def conditional(self, a: Tensor, beta: float = 1.0) -> TorchDistribution:
        """Return N(m, 1/k), k = β/σ² + (1 − β)/s², k m = β (b/σ² + a/σ) + (1 − β) m_r/s², s and m_r those of r."""
        sigma = self.sigma
        if beta == 1.0:
            return dist.Normal(self.bias + sigma * a, sigma)
        k = beta / sigma**2 + (1.0 - beta) / self.spread**2
        linear = beta * (self.bias / sigma + a) / sigma + (1.0 - beta) * self.loc / self.spread**2
        return dist.Normal(linear / k, k.rsqrt())

    @torch.no_grad()
    def draw(self, a: Tensor, beta: float = 1.0) -> Tensor:
        """Return a Gaussian draw."""
        p = self.conditional(a, beta)
        return p.loc + p.scale * torch.randn_like(a)

    def reference(self) -> TorchDistribution:
        """Return the Gaussian with the mean and standard deviation of each feature in the data."""
        return dist.Normal(self.loc, self.spread)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set b, a learned σ and r from the mean and standard deviation of each feature."""
        self.loc.copy_(x.mean(0))
        self.spread.copy_(x.var(0, unbiased=False).sqrt().clamp_min(1e-3))
        self.bias.copy_(self.loc)
        if self.raw is not None:
            self.raw.copy_(raw_scale(self.spread))
