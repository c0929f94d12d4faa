"""Mixtures of logistic distributions on the line, and their masses on a grid of integers.

    F(x) = Σ_k w_k σ((x − m_k) / s_k),        P(X = j) = F(e_{j+1}) − F(e_j),   e_0 = −∞,  e_L = ∞

Notation: K components with log-weights, means m and scales s, shape (..., K). A grid of L levels 0 … L−1 is spread
over [−1, 1]: level j has the centre 2j/(L−1) − 1, and its bin reaches half way to its neighbours, at the ends to
infinity. The mass of a bin a < b is never computed as a difference:

    log(σ(b) − σ(a)) = log σ(b) + log σ(−a) + log(1 − exp(a − b)),

which loses no digits, and has a finite gradient, however far out the bin lies.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid


def log_sigmoid_interval(a: Tensor, width: Tensor) -> Tensor:
    """Return log(σ(a + width) − σ(a)) for width > 0, without cancellation.

    Example:
        >>> a, width = torch.tensor(-100.0), torch.tensor(1.0)  # e⁻⁹⁹ − e⁻¹⁰⁰, below the smallest float32
        >>> round(log_sigmoid_interval(a, width).item(), 4)
        -99.4587
    """
    return logsigmoid(a + width) + logsigmoid(-a) + torch.log(-torch.expm1(-width))


class LogisticMixture(TorchDistribution):
    """Independent scalars, each a mixture of K logistic distributions, continuous or on a grid of levels.

    Args:
        logits: log-weights up to a constant, shape (..., K).
        loc: m, shape (..., K); on a grid in units in which the levels span [−1, 1].
        scale: s > 0, shape (..., K).
        levels: L, or None for real values.
        validate_args: Check the values given to ``log_prob``; torch's global setting if None.

    References:
        Salimans, Karpathy, Chen & Kingma, PixelCNN++, ICLR 2017.

    Example:
        >>> p = LogisticMixture(torch.zeros(2), torch.tensor([-0.5, 0.5]), torch.ones(2), levels=4)
        >>> print(f"{p.log_prob(torch.arange(4.0)).exp().sum().item():.4f}")
        1.0000
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(
        self,
        logits: Tensor,
        loc: Tensor,
        scale: Tensor,
        levels: int | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.log_weights = logits.log_softmax(-1)
        self.loc, self.scale, self.levels = loc, scale, levels
        super().__init__(loc.shape[:-1], torch.Size(), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The reals, or 0 … L−1."""
        return constraints.real if self.levels is None else constraints.integer_interval(0, self.levels - 1)

    def expand(self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None) -> LogisticMixture:
        """Return the same distribution with another batch shape."""
        shape = (*batch_shape, self.loc.shape[-1])
        logits, loc, scale = (part.expand(shape) for part in (self.log_weights, self.loc, self.scale))
        return LogisticMixture(logits, loc, scale, self.levels, validate_args=self._validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density, or the log mass of a level, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        x = value[..., None]
        return torch.logsumexp(
            self.log_weights + (self._density(x) if self.levels is None else self._mass(x)), -1
        )

    def _density(self, x: Tensor) -> Tensor:
        z = (x - self.loc) / self.scale
        return logsigmoid(z) + logsigmoid(-z) - self.scale.log()

    def _mass(self, level: Tensor) -> Tensor:
        assert self.levels is not None
        level = level.to(self.loc.dtype)
        a, width = (self._edge(level) - self.loc) / self.scale, 2.0 / ((self.levels - 1) * self.scale)
        below, above = logsigmoid(a + width), logsigmoid(-a)
        inner = log_sigmoid_interval(a, width)
        return torch.where(level == 0, below, torch.where(level == self.levels - 1, above, inner))

    def _edge(self, j: Tensor) -> Tensor:
        """Return the edge e_j between the levels j − 1 and j."""
        assert self.levels is not None
        return (2.0 * j - self.levels) / (self.levels - 1)

    def _tails(self) -> Tensor:
        """Return P(X ≥ j) for j = 1 … L − 1 along a new first dimension."""
        assert self.levels is not None
        weights = self.log_weights.exp()
        edges = [(2.0 * j - self.levels) / (self.levels - 1) for j in range(1, self.levels)]
        tails = [(weights * torch.sigmoid((self.loc - e) / self.scale)).sum(-1) for e in edges]
        return torch.stack(tails)

    def cdf(self, value: Tensor) -> Tensor:
        """Return P(X ≤ value)."""
        if self.levels is not None:
            x = self._edge(value.to(self.loc.dtype).floor() + 1.0)
            each = torch.sigmoid((x[..., None] - self.loc) / self.scale)
            inner = (self.log_weights.exp() * each).sum(-1)
            inner = torch.where(value < 0, torch.zeros_like(inner), inner)
            return torch.where(value >= self.levels - 1, torch.ones_like(inner), inner)
        return (self.log_weights.exp() * torch.sigmoid((value[..., None] - self.loc) / self.scale)).sum(-1)

    @property
    def mean(self) -> Tensor:
        """E[X]; on a grid Σ_j P(X ≥ j)."""
        if self.levels is None:
            return (self.log_weights.exp() * self.loc).sum(-1)
        return self._tails().sum(0)

    @property
    def variance(self) -> Tensor:
        """Var[X]; a logistic distribution has the variance s² π² / 3."""
        if self.levels is None:
            second = self.loc.square() + self.scale.square() * (math.pi**2 / 3)
            return (self.log_weights.exp() * second).sum(-1) - self.mean.square()
        tails = self._tails()
        j = torch.arange(1, self.levels, dtype=tails.dtype, device=tails.device)
        odd = (2 * j - 1).reshape(-1, *[1] * (tails.dim() - 1))
        return (odd * tails).sum(0) - tails.sum(0).square()

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw a component, then a logistic variable by inversion, then its level; shape (*sample_shape, ...)."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.loc.shape
            logits, loc, scale = (part.expand(shape) for part in (self.log_weights, self.loc, self.scale))
            k = torch.distributions.Categorical(logits=logits).sample()[..., None]
            u = torch.rand(k.shape, dtype=loc.dtype, device=loc.device)
            u = u.clamp_min(torch.finfo(loc.dtype).tiny)  # it may be 0, never 1
            x = (loc.gather(-1, k) + scale.gather(-1, k) * torch.logit(u))[..., 0]
            if self.levels is None:
                return x
            half = 0.5 * (self.levels - 1)
            return torch.floor((x + 1.0) * half + 0.5).clamp(0, self.levels - 1)
