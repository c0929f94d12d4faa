"""Layers that act on channels, and the two that change the shape of an image: descriptions, as in ``layers``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unigen.distributions.channel_steps import ActNormStep, LinearStep, PermutationStep
from unigen.distributions.flow_steps import Shape, Step
from unigen.distributions.layers import Coupling, Layer, assemble
from unigen.distributions.multiscale import FactorOutStep, SqueezeStep
from unigen.errors import ArgumentError


@dataclass(frozen=True)
class ActNorm(Layer):
    """Scale and shift of every channel, set by the first ``fit`` to give mean 0 and variance 1."""

    def build(self, shape: Shape, context: int, position: int) -> Step:
        """Return the step."""
        return ActNormStep(shape)


@dataclass(frozen=True)
class LULinear(Layer):
    """An invertible matrix over features, or over channels at every pixel (a 1×1 convolution), in LU form.

    References:
        Kingma & Dhariwal, Glow, NeurIPS 2018.
    """

    def build(self, shape: Shape, context: int, position: int) -> Step:
        """Return the step."""
        return LinearStep(shape)


@dataclass(frozen=True)
class Permutation(Layer):
    """z_k = x_{order_k}; the reverse order if omitted.

    Args:
        order: A permutation of the features, or of the channels of an image.
    """

    order: Sequence[int] | None = None

    def build(self, shape: Shape, context: int, position: int) -> Step:
        """Return the step."""
        order = tuple(range(shape[0]))[::-1] if self.order is None else tuple(self.order)
        if sorted(order) != list(range(shape[0])):
            raise ArgumentError(site="order", got=order, expected=f"a permutation of 0 … {shape[0] - 1}")
        return PermutationStep(shape, torch.tensor(order))


@dataclass(frozen=True)
class Squeeze(Layer):
    """(C, H, W) becomes (4C, H/2, W/2)."""

    def build(self, shape: Shape, context: int, position: int) -> Step:
        """Return the step."""
        if len(shape) != 3 or shape[1] % 2 or shape[2] % 2:
            raise ArgumentError(
                "height and width are halved",
                site="Squeeze",
                got=shape,
                expected="(C, H, W) with even H and W",
                hint="fewer levels, or pad the images",
            )
        return SqueezeStep(shape)


@dataclass(frozen=True)
class FactorOut(Layer):
    """Half of the channels leave, as noise given the others; the other half goes through ``layers``.

    Args:
        layers: What the channels that go on pass.
        hidden: Widths of the network that conditions the leaving channels.
    """

    layers: Sequence[Layer]
    hidden: Sequence[int] = (128, 128)

    def build(self, shape: Shape, context: int, position: int) -> Step:
        """Return the step."""
        if shape[0] < 2 or not self.layers:
            raise ArgumentError(
                site="FactorOut", got=(shape, tuple(self.layers)), expected="two channels, one layer"
            )
        go_on = range(shape[0] // 2, shape[0])
        early = Coupling(hidden=self.hidden, stay=tuple(go_on)).build(shape, context, 0)
        late = assemble(self.layers, (len(go_on), *shape[1:]), context)
        return FactorOutStep(shape, early, late)
