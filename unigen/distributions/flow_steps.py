"""The steps of a flow as modules: each builds a fresh bijection z = f(x | c) for every call.

Notation: D features, c context (..., C), φ the parameters of one-dimensional maps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Transform

from unigen.distributions.conditioners import MaskedConditioner
from unigen.distributions.event_transforms import EventTransform, Inverted, Lifted
from unigen.distributions.transforms import (
    Affine,
    AutoregressiveTransform,
    CouplingTransform,
    Elementwise,
    Spline,
    UnitSpline,
    Univariate,
)

Shape = tuple[int, ...]


class Step(nn.Module, ABC):
    """One bijection of a flow, as a module.

    Args:
        shape: Shape of what it takes.
        shape_out: Shape of what it gives; the same if omitted.
    """

    inverse_by = "one pass"  # how draws are made
    starts_from_data = False  # whether ``initialise`` does something
    circular = False  # whether it maps the torus [−π, π]^D onto itself

    def __init__(self, shape: Shape, shape_out: Shape | None = None) -> None:
        super().__init__()
        self.shape, self.shape_out = shape, shape if shape_out is None else shape_out

    @abstractmethod
    def forward(self, context: Tensor | None = None) -> Transform:
        """Return the transform of this step for a context (..., C)."""

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set starting values from what reaches this step, shape (N, *shape)."""


class ElementwiseStep(Step):
    """Free parameters, no network: z_i = f(x_i; φ_i).

    Args:
        shape: Shape of an event; a number D stands for (D,).
        univariate: f, or None for the spline and quantile function that map (0, 1) to the reals.
        bins: Bins of that spline.
    """

    def __init__(self, shape: Shape | int, univariate: Univariate | None = None, *, bins: int = 8) -> None:
        super().__init__((shape,) if isinstance(shape, int) else shape)
        self.univariate, self.bins = univariate, bins
        self.starts_from_data = isinstance(univariate, Affine)
        size = Spline(bins).size if univariate is None else univariate.size
        self.phi = nn.Parameter(torch.zeros(*self.shape, size))

    def forward(self, context: Tensor | None = None) -> EventTransform:
        """Return the transform."""
        if self.univariate is None:
            return UnitSpline(self.phi, self.bins)
        return Elementwise(self.univariate, self.phi)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set an affine map to (x − mean) / sd of the data; splines act on [−5, 5], so they need this."""
        if isinstance(self.univariate, Affine):
            mean, sd = x.mean(0), x.std(0)
            sd = torch.where(sd > 0, sd, torch.ones_like(sd))
            self.phi.copy_(torch.stack((-mean / sd, Affine.unclip(-sd.log())), dim=-1))


class AutoregressiveStep(Step):
    """z_i = f(x_i; φ_i(x_{<i}, c)) with a masked network."""

    inverse_by = "D small steps, together one pass"

    def __init__(self, net: MaskedConditioner, univariate: Univariate) -> None:
        super().__init__((net.features,))
        self.net, self.univariate = net, univariate

    def forward(self, context: Tensor | None = None) -> EventTransform:
        """Return the transform."""
        return AutoregressiveTransform(self.net, self.univariate, context)


class CouplingStep(Step):
    """z_a = x_a, z_b = f(x_b; φ(x_a, c)).

    Args:
        shape: Shape of an event; its first dimension is split.
        stay: Boolean mask of that dimension, true for a.
        univariate: f.
        net: φ, from x_a (..., *event_a) and the context to (..., *event_b, P).
    """

    a: Tensor
    b: Tensor
    back: Tensor

    def __init__(self, shape: Shape, stay: Tensor, univariate: Univariate, net: nn.Module) -> None:
        super().__init__(shape)
        a, b = stay.nonzero()[:, 0], (~stay).nonzero()[:, 0]
        self.univariate, self.net = univariate, net
        for name, index in (("a", a), ("b", b), ("back", torch.argsort(torch.cat((a, b))))):
            self.register_buffer(name, index, persistent=False)

    def forward(self, context: Tensor | None = None) -> EventTransform:
        """Return the transform."""
        split = (self.a, self.b, self.back)
        return CouplingTransform(self.net, self.univariate, context, split, len(self.shape))


class InverseStep(Step):
    """z = g⁻¹(x | c) of another step g: its density costs what g's draws cost, its draws what g's density costs."""

    def __init__(self, inner: Step) -> None:
        super().__init__(inner.shape_out, inner.shape)
        self.inner = inner

    def forward(self, context: Tensor | None = None) -> EventTransform:
        """Return the transform."""
        inner = self.inner(context)
        return Inverted(inner if isinstance(inner, EventTransform) else Lifted(inner, len(self.shape)))


class FixedStep(Step):
    """A torch ``Transform`` without parameters of its own, applied to every element or event."""

    def __init__(self, transform: Transform, shape: Shape) -> None:
        super().__init__(shape, tuple(transform.forward_shape(torch.Size(shape))))
        self.transform = Lifted(transform, len(shape))

    def forward(self, context: Tensor | None = None) -> EventTransform:
        """Return the transform."""
        return self.transform


def coupling_mask(features: int, t: int) -> Tensor:
    """Return the features that stay in step t: alternating at first, then fixed random halves and complements."""
    if t < 2 or features < 4:
        return torch.arange(features) % 2 == t % 2
    generator = torch.Generator().manual_seed(t // 2)
    return torch.randperm(features, generator=generator) % 2 == t % 2
