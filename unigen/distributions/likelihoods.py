"""Likelihood heads: what a decoder's output means, p(x | raw).

Notation: D features of one example (the product of ``event_shape``), P parameters a feature. A network ends in
D·P numbers ``raw``; the P parameters of one feature stand next to one another. A learned scale never falls below
``floor``, so a Gaussian log-density stays below −log floor a feature.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from unigen.distributions.scales import FLOOR, positive, raw_scale
from unigen.distributions.scales import inverse_softplus as inverse_softplus
from unigen.errors import ArgumentError, ShapeError


class Likelihood(nn.Module, ABC):
    """The head of a decoder, and the conditional of an autoregressive model.

    Subclasses set ``parameters_per_feature`` and define ``elementwise``.
    """

    parameters_per_feature: int = 1
    inputs_per_feature: int = 1
    support: constraints.Constraint = constraints.real  # of one feature
    reparameterised: bool = False

    @property
    def discrete(self) -> bool:
        """Whether the features are integers."""
        return self.support.is_discrete

    @abstractmethod
    def elementwise(self, raw: Tensor, event_shape: torch.Size) -> TorchDistribution:
        """Return independent scalars, batch shape (..., *event_shape), from parameters (..., *event_shape, P)."""

    @abstractmethod
    def marginals(self, x: Tensor) -> Tensor:
        """Return the raw parameters (D, P) of independent features fitted to x (N, D): where training may start."""

    def encode(self, x: Tensor) -> Tensor:
        """Return what a network is fed for x (..., D): shape (..., D · inputs_per_feature)."""
        return x

    def width(self, features: int) -> int:
        """Return the length of ``raw`` for D features."""
        return features * self.parameters_per_feature

    def input_width(self, features: int) -> int:
        """Return the length of ``encode(x)`` for D features."""
        return features * self.inputs_per_feature

    def initialise(self, x: Tensor) -> None:
        """Set learned numbers of the head itself from data x (N, D), NaN where missing; most heads have none."""

    def forward(self, raw: Tensor, event_shape: torch.Size | tuple[int, ...]) -> TorchDistribution:
        """Return p(x | raw).

        Args:
            raw: Output of a network, shape (..., D · P).
            event_shape: Shape of one example, with product D.

        Returns:
            Distribution with batch shape (...) and the given event shape.

        Raises:
            ShapeError: The last dimension of ``raw`` is not D · P.
        """
        event_shape, p = torch.Size(event_shape), self.parameters_per_feature
        features = math.prod(event_shape)
        if raw.dim() == 0 or raw.shape[-1] != features * p:
            raise ShapeError(
                program=type(self).__name__,
                site="raw",
                got=tuple(raw.shape),
                expected=f"(..., {features * p}), that is {p} for each of {features} features",
            )
        return self.elementwise(raw.unflatten(-1, (*event_shape, p)), event_shape).to_event(len(event_shape))


class Gaussian(Likelihood):
    """x_i = m_i + σ_i ε_i, ε ~ N(0, 1).

    Args:
        scale: ``"learned"``: one σ for all features; ``"per_feature"``: one for each, which takes ``features``;
            ``"network"``: two parameters a feature, m and ρ; a number: σ fixed.
        features: D, for ``"per_feature"``.
        floor: Smallest scale of those that are learned.

    Raises:
        ArgumentError: Another word, a number that is not positive, or ``features`` missing.

    Example:
        >>> Gaussian(0.5)(torch.zeros(7, 4), (4,)).log_prob(torch.zeros(7, 4)).shape
        torch.Size([7])
    """

    reparameterised = True

    def __init__(
        self, scale: str | float = "learned", *, features: int | None = None, floor: float = FLOOR
    ) -> None:
        super().__init__()
        if isinstance(scale, str) and scale not in ("learned", "per_feature", "network"):
            raise ArgumentError(
                program="Gaussian",
                site="scale",
                got=scale,
                expected="'learned', 'per_feature', 'network' or a number",
            )
        if not 0 < floor < 1 or (not isinstance(scale, str) and not 0 < float(scale) < math.inf):
            raise ArgumentError(
                program="Gaussian",
                site="scale, floor",
                got=(scale, floor),
                expected="σ > 0 and 0 < floor < 1",
            )
        if scale == "per_feature" and (features is None or features < 1):
            raise ArgumentError(
                program="Gaussian",
                site="features",
                got=features,
                expected="the number of features",
                hint="Gaussian('per_feature', features=64)",
            )
        self.mode, self.floor = scale, floor
        self.scale, self.features = scale, features
        self.parameters_per_feature = 2 if scale == "network" else 1
        sizes = {"learned": 1, "per_feature": features or 1}
        if isinstance(scale, str) and scale in sizes:
            self.raw_scale = nn.Parameter(torch.zeros(sizes[scale]))

    @property
    def sigma(self) -> Tensor:
        """The scale, shape (1,) or (D,), where it does not depend on the network.

        Raises:
            ArgumentError: It does.
        """
        if self.mode == "network":
            raise ArgumentError(
                "the scale is an output of the network", program="Gaussian", hint="forward(raw, …).stddev"
            )
        if not isinstance(self.mode, str):
            return torch.tensor([float(self.mode)])
        return positive(self.raw_scale, self.floor)

    def set_sigma(self, sigma: Tensor | float) -> None:
        """Write the learned scale; the inverse of ``sigma``.

        Raises:
            ArgumentError: The scale is not a parameter, or a value lies below 1.01 · floor.
        """
        if self.mode not in ("learned", "per_feature"):
            raise ArgumentError("the scale is not a parameter", program="Gaussian", got=self.mode)
        value = torch.as_tensor(sigma, dtype=self.raw_scale.dtype, device=self.raw_scale.device)
        if not bool((value >= 1.01 * self.floor).all()):
            raise ArgumentError(
                program="Gaussian", site="sigma", got=sigma, expected=f"≥ {1.01 * self.floor:g}"
            )
        with torch.no_grad():
            self.raw_scale.copy_(raw_scale(value, self.floor))

    def initialise(self, x: Tensor) -> None:
        """Start a learned scale at the standard deviation of x (N, D)."""
        if self.mode in ("learned", "per_feature"):
            squares = (x - x.nanmean(0)).square()
            variance = squares.nanmean() if self.mode == "learned" else squares.nanmean(0)
            self.set_sigma(variance.sqrt().nan_to_num(1.0).clamp_min(2 * self.floor))

    def elementwise(self, raw: Tensor, event_shape: torch.Size) -> TorchDistribution:
        """Return N(m_i, σ_i²)."""
        loc = raw[..., 0]
        if self.mode == "network":
            return dist.Normal(loc, positive(raw[..., 1], self.floor))
        if isinstance(self.mode, str):
            sigma = self.sigma.to(loc.dtype)
            sigma = sigma.reshape(event_shape) if self.mode == "per_feature" else sigma
            return dist.Normal(loc, sigma.expand(loc.shape))
        return dist.Normal(loc, torch.full_like(loc, float(self.mode)))

    def marginals(self, x: Tensor) -> Tensor:
        """Return means, and scales where the network gives them."""
        if self.mode != "network":
            return x.mean(0)[:, None]
        return torch.stack((x.mean(0), raw_scale(x.std(0), self.floor)), -1)

    def extra_repr(self) -> str:
        """Return the mode of the scale."""
        return f"scale={self.mode!r}, floor={self.floor:g}"


class Bernoulli(Likelihood):
    """x_i ∈ {0, 1} with P(x_i = 1) = 1 / (1 + exp(−raw_i)); the mean is that probability."""

    support = constraints.boolean

    def __init__(self) -> None:  # an explicit signature: checkpoints write constructor arguments down
        super().__init__()

    def marginals(self, x: Tensor) -> Tensor:
        """Return logits of the frequencies, with half a count added to both sides."""
        ones = x.sum(0)
        return (torch.log(ones + 0.5) - torch.log(x.shape[0] - ones + 0.5))[:, None]

    def elementwise(self, raw: Tensor, event_shape: torch.Size) -> TorchDistribution:
        """Return Bernoulli(logits)."""
        return dist.Bernoulli(logits=raw[..., 0])


class IndexCategorical(dist.Categorical):
    """A categorical distribution over 0 … K−1 whose mean and variance are those of the index."""

    @property
    def mean(self) -> Tensor:
        """Σ_k k p_k."""
        k = torch.arange(self.probs.shape[-1], dtype=self.probs.dtype, device=self.probs.device)
        return (self.probs * k).sum(-1)

    @property
    def variance(self) -> Tensor:
        """Σ_k (k − mean)² p_k."""
        k = torch.arange(self.probs.shape[-1], dtype=self.probs.dtype, device=self.probs.device)
        return (self.probs * (k - self.mean[..., None]).square()).sum(-1)


class Categorical(Likelihood):
    """x_i ∈ {0, …, K−1}, P(x_i = k) ∝ exp(raw_ik); the mean is that of the index.

    Args:
        classes: K.

    Raises:
        ArgumentError: K < 2.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise ArgumentError(program="Categorical", site="classes", got=classes, expected="≥ 2")
        self.support = constraints.integer_interval(0, classes - 1)
        self.classes = self.parameters_per_feature = self.inputs_per_feature = classes

    def elementwise(self, raw: Tensor, event_shape: torch.Size) -> TorchDistribution:
        """Return Categorical(logits)."""
        return IndexCategorical(logits=raw)

    def encode(self, x: Tensor) -> Tensor:
        """Return one-hot codes, shape (..., D · K)."""
        k = torch.arange(self.classes, dtype=x.dtype, device=x.device)
        return (
            (x[..., None] == k)
            .flatten(-2)
            .to(x.dtype if x.is_floating_point() else torch.get_default_dtype())
        )

    def marginals(self, x: Tensor) -> Tensor:
        """Return log-frequencies, with half a count added to each class."""
        counts = self.encode(x).reshape(x.shape[0], -1, self.classes).sum(0)
        return torch.log((counts + 0.5) / (x.shape[0] + 0.5 * self.classes))

    def extra_repr(self) -> str:
        """Return the number of classes."""
        return f"classes={self.classes}"
