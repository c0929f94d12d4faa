"""The steps of a flow as modules: each builds a fresh bijection z = f(x | c) for every call.

Notation: D features, c context (..., C), φ the parameters of one-dimensional maps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Transform

from unigen.distributions.conditioners import MaskedConditioner, PlainConditioner
from unigen.distributions.transforms import (
    Autoregressive,
    Coupling,
    Elementwise,
    Spline,
    UnitSpline,
    Univariate,
)


class Step(nn.Module, ABC):
    """One bijection of a flow, as a module."""

    @abstractmethod
    def forward(self, context: Tensor | None = None) -> Transform:
        """Return the transform of this step for a context (..., C)."""


class ElementwiseStep(Step):
    """Free parameters, no network: z_i = f(x_i; φ_i).

    Args:
        features: D.
        univariate: f, or None for the spline and quantile function that map (0, 1) to the reals.
        bins: Bins of that spline.
    """

    def __init__(self, features: int, univariate: Univariate | None = None, *, bins: int = 8) -> None:
        super().__init__()
        self.univariate, self.bins = univariate, bins
        size = Spline(bins).size if univariate is None else univariate.size
        self.phi = nn.Parameter(torch.zeros(features, size))

    def forward(self, context: Tensor | None = None) -> Transform:
        """Return the transform."""
        return (
            UnitSpline(self.phi, self.bins)
            if self.univariate is None
            else Elementwise(self.univariate, self.phi)
        )


class AutoregressiveStep(Step):
    """z_i = f(x_i; φ_i(x_{<i}, c)) with a masked network."""

    def __init__(self, net: MaskedConditioner, univariate: Univariate) -> None:
        super().__init__()
        self.net, self.univariate = net, univariate

    def forward(self, context: Tensor | None = None) -> Transform:
        """Return the transform."""
        return Autoregressive(self.net, self.univariate, context)


class CouplingStep(Step):
    """z_a = x_a, z_b = f(x_b; φ(x_a, c)).

    Args:
        mask: Boolean (D,), true for the features a that stay.
        univariate: f.
        make: Builds the network from (inputs, features).
    """

    a: Tensor
    b: Tensor
    back: Tensor

    def __init__(
        self, mask: Tensor, univariate: Univariate, make: Callable[[int, int], PlainConditioner]
    ) -> None:
        super().__init__()
        a, b = mask.nonzero()[:, 0], (~mask).nonzero()[:, 0]
        self.univariate, self.net = univariate, make(a.shape[0], b.shape[0])
        for name, index in (("a", a), ("b", b), ("back", torch.argsort(torch.cat((a, b))))):
            self.register_buffer(name, index, persistent=False)

    def forward(self, context: Tensor | None = None) -> Transform:
        """Return the transform."""
        return Coupling(self.net, self.univariate, context, (self.a, self.b, self.back))


def coupling_mask(features: int, t: int) -> Tensor:
    """Return the features that stay in step t: alternating at first, then fixed random halves and complements."""
    if t < 2 or features < 4:
        return torch.arange(features) % 2 == t % 2
    generator = torch.Generator().manual_seed(t // 2)
    return torch.randperm(features, generator=generator) % 2 == t % 2
