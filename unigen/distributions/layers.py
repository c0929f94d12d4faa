"""The layers a flow is composed of, as descriptions: plain values that build a step once the shape is known.

    Flow(3, [Coupling(Affine()), Autoregressive(Spline(8)), Inverse(Autoregressive(Affine()))])

Notation: an event has shape (D,), or (H, W) behind C channels; a layer may change it. C context features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.distributions import Transform

from unigen.distributions.conditioners import MaskedConditioner, PlainConditioner
from unigen.distributions.convolution import ConvolutionalConditioner
from unigen.distributions.flow_steps import (
    AutoregressiveStep,
    CouplingStep,
    ElementwiseStep,
    FixedStep,
    InverseStep,
    Shape,
    Step,
    coupling_mask,
)
from unigen.distributions.logit import LogitTransform
from unigen.distributions.transforms import Affine, Univariate
from unigen.errors import ArgumentError

AFFINE = Affine()
GAIN = 0.1  # factor on the last layers' initial weights: every transform starts near the identity
LIMIT = (
    10.0  # networks see data clipped to ± this: no data in unit scale get there, and far out the map is tame
)


class Layer(ABC):
    """A description of one bijection z = f(x | c)."""

    @abstractmethod
    def build(self, shape: Shape, context: int, position: int) -> Step:
        """Return the step.

        Args:
            shape: Shape of the events it will take.
            context: C.
            position: How many layers of this class come before it; masks and orders alternate by it.

        Raises:
            ArgumentError: The layer cannot act on such events.
        """


@dataclass(frozen=True)
class Coupling(Layer):
    """z_a = x_a, z_b = f(x_b; φ(x_a, c)); one pass each way. Images are split by channels.

    Args:
        univariate: f: ``Affine()``, ``Additive()`` or ``Spline(bins)``.
        hidden: Widths of the network's hidden layers; on images of its convolutions.
        stay: Indices a; alternating, then random halves and their complements if omitted.

    References:
        Dinh, Krueger & Bengio, NICE, 2014; Dinh, Sohl-Dickstein & Bengio, Real NVP, ICLR 2017.
    """

    univariate: Univariate = AFFINE
    hidden: Sequence[int] = (128, 128)
    stay: Sequence[int] | None = None

    def build(self, shape: Shape, context: int, position: int) -> Step:
        """Return the step."""
        features = shape[0]
        if features == 1 and len(shape) == 1:  # nothing to couple with: the context alone, or free parameters
            return Autoregressive(self.univariate, self.hidden).build(shape, context, position)
        stay = (
            coupling_mask(features, position)
            if self.stay is None
            else torch.zeros(features, dtype=torch.bool)
        )
        if self.stay is not None:
            if not set(self.stay) < set(range(features)) or not self.stay:
                raise ArgumentError(
                    site="stay", got=tuple(self.stay), expected=f"some, not all, of 0 … {features - 1}"
                )
            stay[list(self.stay)] = True
        if features == 1:
            raise ArgumentError(
                "one channel cannot be split",
                site="Coupling",
                got=shape,
                hint="Squeeze() before the coupling",
            )
        inputs = int(stay.sum())
        make = PlainConditioner if len(shape) == 1 else ConvolutionalConditioner
        net = make(
            inputs, features - inputs, self.univariate.size, context=context, hidden=self.hidden, gain=GAIN,
            limit=LIMIT,
        )  # fmt: skip
        return CouplingStep(shape, stay, self.univariate, net)


@dataclass(frozen=True)
class Autoregressive(Layer):
    """z_i = f(x_i; φ_i(x_{<i}, c)); a density in one pass, draws in D small steps.

    Args:
        univariate: f: ``Affine()``, ``Additive()`` or ``Spline(bins)``.
        hidden: Widths of the masked network's hidden layers; () gives an affine autoregression.
        order: Order of the features, a permutation; alternately ascending and descending if omitted.

    References:
        Papamakarios, Pavlakou & Murray, Masked autoregressive flow for density estimation, NeurIPS 2017.
    """

    univariate: Univariate = AFFINE
    hidden: Sequence[int] = (128, 128)
    order: Sequence[int] | None = None

    def build(self, shape: Shape, context: int, position: int) -> Step:
        """Return the step."""
        features = _vector(self, shape)
        ordered = range(features) if position % 2 == 0 else range(features - 1, -1, -1)
        net = MaskedConditioner(
            features,
            self.univariate.size,
            context=context,
            hidden=self.hidden,
            order=ordered if self.order is None else self.order,
            gain=GAIN,
            limit=LIMIT if self.hidden else None,  # an affine autoregression is exact everywhere
            standardise=False,
        )
        return AutoregressiveStep(net, self.univariate)


@dataclass(frozen=True)
class Inverse(Layer):
    """z = g⁻¹(x | c): another layer run backwards. ``Inverse(Autoregressive())`` is the layer of an IAF.

    Args:
        layer: g.

    References:
        Kingma et al., Improving variational inference with inverse autoregressive flow, NeurIPS 2016.
    """

    layer: Layer

    def build(self, shape: Shape, context: int, position: int) -> Step:
        """Return the step."""
        return InverseStep(self.layer.build(shape, context, position))


@dataclass(frozen=True)
class Standardise(Layer):
    """z_i = x_i exp(s_i) + t_i, learned, set to (x − mean) / sd of the data by the first ``fit``."""

    def build(self, shape: Shape, context: int, position: int) -> Step:
        """Return the step."""
        return ElementwiseStep(shape, Affine())


@dataclass(frozen=True)
class Quantile(Layer):
    """z_i = Φ⁻¹(g_i(x_i)), g_i a monotone spline of [0, 1] onto itself: the density lives on the cube exactly.

    Args:
        bins: Bins of each spline.
    """

    bins: int = 8

    def build(self, shape: Shape, context: int, position: int) -> Step:
        """Return the step."""
        return ElementwiseStep(shape, None, bins=self.bins)


@dataclass(frozen=True)
class Logit(Layer):
    """z = logit(α + (1 − 2α) x), log |dz/dx| = log(1 − 2α) − log y(1 − y) with y = α + (1 − 2α) x.

    With α = 0 the density lives on [0, 1]^D exactly. A positive α, as in the literature, keeps z bounded on [0, 1]
    but lets some mass leave it: the density is then exact on [−α/(1 − 2α), 1 + α/(1 − 2α)]^D.

    Args:
        alpha: α in [0, 1/2).

    References:
        Dinh et al., Real NVP, ICLR 2017, section 4.1; Papamakarios et al., MAF, 2017, appendix.
    """

    alpha: float = 0.0

    def build(self, shape: Shape, context: int, position: int) -> Step:
        """Return the step."""
        if not 0 <= self.alpha < 0.5:
            raise ArgumentError(site="alpha", got=self.alpha, expected="0 ≤ alpha < 1/2")
        return FixedStep(LogitTransform(self.alpha), shape)


def _vector(layer: Layer, shape: Shape) -> int:
    if len(shape) != 1:
        name = type(layer).__name__
        raise ArgumentError(f"{name} acts on vectors", site=name, got=shape, expected="(D,)")
    return shape[0]


FIRST: dict[str, tuple[Layer, ...]] = {"real": (Standardise(),), "unit": (Quantile(),)}


def first_layers(support: str | Layer) -> tuple[Layer, ...]:
    """Return what brings data of a support to the reals.

    Args:
        support: ``"real"``, ``"unit"``, or a layer of one's own, such as ``Logit()``.

    Raises:
        ArgumentError: Another word.
    """
    if isinstance(support, Layer):
        return (support, Standardise())
    if support not in FIRST:
        raise ArgumentError(
            site="support",
            got=support,
            expected="'real', 'unit' or a layer such as Logit()",
            hint="(x + u) / levels dequantises counts into the unit interval",
        )
    return FIRST[support]


def assemble(layers: Sequence[Layer | Transform], shape: Shape, context: int) -> list[Step]:
    """Return the steps of layers, data side first, each built for the shape that reaches it."""
    steps: list[Step] = []
    counts: dict[type, int] = {}
    for layer in layers:
        position = counts.get(type(layer), 0)
        counts[type(layer)] = position + 1
        step = (
            FixedStep(layer, shape) if isinstance(layer, Transform) else layer.build(shape, context, position)
        )
        steps.append(step)
        shape = step.shape_out
    return steps
