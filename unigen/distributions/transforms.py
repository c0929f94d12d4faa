"""Bijections from data to noise, z = f(x | c), as modules that build a fresh torch ``Transform`` each call.

Notation: x data (..., D), z noise (..., D), c context (..., C), φ the parameters of one-dimensional maps.
Every map has a closed-form inverse and an exact log-determinant; an autoregressive inverse takes D small steps.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints

from unigen.distributions.bijection import inverse, value_and_log_det
from unigen.distributions.conditioners import MaskedConditioner
from unigen.distributions.event_transforms import EventTransform, Lifted, over_event, reals
from unigen.distributions.masked_sampling import draw_in_order
from unigen.distributions.zuko_adapter import MonotonicAffineTransform, MonotonicRQSTransform
from unigen.errors import ArgumentError


class Univariate(ABC):
    """A family of increasing one-dimensional bijections with ``size`` parameters φ."""

    size: int

    @abstractmethod
    def __call__(self, phi: Tensor) -> Transform:
        """Return the elementwise transform of φ (..., size)."""

    def __repr__(self) -> str:
        """Return the class and its options."""
        options = ", ".join(f"{n}={getattr(self, n)!r}" for n in inspect.signature(type(self)).parameters)
        return f"{type(self).__name__}({options})"


class Affine(Univariate):
    """z = x exp(s) + t, φ = (t, a), with s = a / (1 + |a| / log 1000) so that exp(s) stays within 10^±3."""

    size = 2
    log_slope = math.log(1e3)

    def __call__(self, phi: Tensor) -> Transform:
        """Return the map."""
        return MonotonicAffineTransform(phi[..., 0], phi[..., 1], slope=math.exp(-self.log_slope))

    @classmethod
    def unclip(cls, s: Tensor) -> Tensor:
        """Return the a of a log-scale s, |s| < log 1000: s / (1 − |s| / log 1000)."""
        s = s.clamp(-0.999 * cls.log_slope, 0.999 * cls.log_slope)
        return s / (1.0 - s.abs() / cls.log_slope)


class Additive(Univariate):
    """z = x + t, φ = (t): volume-preserving, as in NICE."""

    size = 1

    def __call__(self, phi: Tensor) -> Transform:
        """Return the map."""
        return MonotonicAffineTransform(phi[..., 0], torch.zeros_like(phi[..., 0]))


class Spline(Univariate):
    """Monotone rational-quadratic spline with K bins on [−bound, bound], the identity outside.

    Args:
        bins: K.
        bound: Half-width of the interval.

    References:
        Durkan et al., Neural spline flows, NeurIPS 2019.
    """

    def __init__(self, bins: int = 8, bound: float = 5.0) -> None:
        if bins < 2 or bound <= 0:
            raise ArgumentError(site="bins, bound", got=(bins, bound), expected="bins ≥ 2 and bound > 0")
        self.bins, self.bound, self.size = bins, bound, 3 * bins - 1

    def __call__(self, phi: Tensor) -> Transform:
        """Return the map."""
        k = self.bins
        return MonotonicRQSTransform(phi[..., :k], phi[..., k : 2 * k], phi[..., 2 * k :], bound=self.bound)


class Elementwise(Lifted):
    """z_i = f(x_i; φ_i), φ (*event, P) free parameters."""

    def __init__(self, univariate: Univariate, phi: Tensor) -> None:
        super().__init__(univariate(phi), phi.dim() - 1)
        self.domain = self.codomain = reals(self.rank)


class UnitSpline(EventTransform):
    """z_i = Φ⁻¹(g_i(x_i)) from (0, 1) to the reals, g_i a monotone spline of the unit interval onto itself.

    Every feature gets its own marginal, and with the identity spline a standard normal z is a uniform x. The
    ends are exact: no mass leaves [0, 1]. g is clipped to [ε/2, 1 − ε/2], ε the precision of the dtype: what a
    strongly contracting flow puts closer to an end than that is not resolved.
    """

    def __init__(self, phi: Tensor, bins: int) -> None:
        super().__init__(phi.dim() - 1)
        self.domain = constraints.independent(constraints.unit_interval, self.rank)
        self.inner = Spline(bins, bound=0.5)(phi)

    def _inverse(self, z: Tensor) -> Tensor:
        return (inverse(self.inner, torch.special.ndtr(z) - 0.5) + 0.5).clamp(0.0, 1.0)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and log |dz/dx| = Σ_i log g_i'(x_i) − log N(z_i; 0, 1)."""
        u, ladj = value_and_log_det(self.inner, x - 0.5)
        eps = torch.finfo(x.dtype).eps / 2
        z = torch.special.ndtri((u + 0.5).clamp(eps, 1.0 - eps))
        return z, over_event(ladj + 0.5 * z.square() + 0.5 * math.log(2 * math.pi), self.rank)


class AutoregressiveTransform(EventTransform):
    """z_i = f(x_i; φ_i(x_{<i}, c)): triangular Jacobian, one pass forward, D small steps back."""

    def __init__(self, net: MaskedConditioner, univariate: Univariate, context: Tensor | None) -> None:
        super().__init__()
        self.net, self.univariate, self.context = net, univariate, context

    def _inverse(self, z: Tensor) -> Tensor:
        lead = z.shape[:-1]
        if self.context is not None:
            lead = torch.broadcast_shapes(lead, self.context.shape[:-1])
        return draw_in_order(
            self.net, lead, self.context, lambda i, phi: inverse(self.univariate(phi), z[..., i])
        )

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and Σ_i log ∂z_i/∂x_i."""
        z, ladj = value_and_log_det(self.univariate(self.net(x, self.context)), x)
        return z, ladj.sum(-1)


class CouplingTransform(EventTransform):
    """z_a = x_a, z_b = f(x_b; φ(x_a, c)): one pass each way. The first dimension of an event is split.

    Args:
        net: φ, from x_a and c to (*event_b, P).
        univariate: f.
        context: c, shape (..., C), or None.
        split: Indices a and b along the dimension that is split, and those that put (a, b) back in order.
        rank: Number of dimensions of an event.
    """

    def __init__(
        self,
        net: nn.Module,
        univariate: Univariate,
        context: Tensor | None,
        split: tuple[Tensor, Tensor, Tensor],
        rank: int = 1,
    ) -> None:
        super().__init__(rank)
        self.net, self.univariate, self.context = net, univariate, context
        self.a, self.b, self.back = split

    def _merge(self, x_a: Tensor, x_b: Tensor) -> Tensor:
        batch = x_b.shape[: x_b.dim() - self.rank]
        x_a = x_a.expand(*batch, *x_a.shape[x_a.dim() - self.rank :])
        return torch.cat((x_a, x_b), dim=-self.rank).index_select(-self.rank, self.back)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.index_select(-self.rank, self.a), x.index_select(-self.rank, self.b)

    def _inverse(self, z: Tensor) -> Tensor:
        z_a, z_b = self._split(z)
        return self._merge(z_a, inverse(self.univariate(self.net(z_a, self.context)), z_b))

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and Σ_b log ∂z_b/∂x_b."""
        x_a, x_b = self._split(x)
        z_b, ladj = value_and_log_det(self.univariate(self.net(x_a, self.context)), x_b)
        return self._merge(x_a, z_b), over_event(ladj, self.rank)
