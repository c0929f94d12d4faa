"""Glow: a multi-scale flow on images.

    z = f(x | c),   p(x | c) = N(f(x | c); 0, I) |det ∂f/∂x|

Notation: x (N, C, H, W). A level squeezes 2 × 2 pixels into channels, passes some steps of (activation
normalisation, invertible 1×1 convolution, affine coupling), and lets half of the channels leave to the noise, given
the other half, which goes on to the next level.
"""

from __future__ import annotations

from collections.abc import Sequence

from unigen.densities.flow import FlowProgram
from unigen.distributions.channel_layers import ActNorm, FactorOut, LULinear, Squeeze
from unigen.distributions.layers import Coupling, Layer
from unigen.distributions.transforms import Affine, Univariate
from unigen.errors import ArgumentError
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.objectives.objective import Objective


class Glow(FlowProgram):
    """Invertible 1×1 convolutions and convolutional couplings on several scales; an exact density of images.

    Args:
        shape: (C, H, W); H and W divisible by 2^levels.
        context: Length of the context, added at every pixel.
        levels: Number of scales L.
        steps: Steps K a level.
        hidden: Channels of each network's hidden layers.
        univariate: Map of the couplings: ``Affine()``, ``Additive()``, ``Spline(bins)``.
        support: ``"unit"`` for pixels in [0, 1] (dequantised), ``"real"``, or a first layer such as ``Logit()``.
        objective: What ``fit`` minimises.

    Raises:
        ArgumentError: The shape cannot be halved ``levels`` times.

    References:
        Kingma & Dhariwal, Glow: generative flow with invertible 1×1 convolutions, NeurIPS 2018.

    Example:
        >>> glow = Glow((1, 8, 8), levels=2, steps=1, hidden=(16,))
        >>> glow.sample(2).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        context: int = 0,
        levels: int = 2,
        steps: int = 4,
        hidden: Sequence[int] = (64, 64),
        univariate: Univariate = Affine(),
        support: str | Layer = "unit",
        objective: Objective = MaximumLikelihood(),
    ) -> None:
        if len(tuple(shape)) != 3 or levels < 1 or steps < 1:
            raise ArgumentError(
                program="Glow",
                got=f"shape {tuple(shape)}, levels {levels}, steps {steps}",
                expected="(C, H, W), levels ≥ 1, steps ≥ 1",
            )
        layers = scales(levels, steps, univariate, hidden)
        super().__init__(shape, layers, context=context, support=support, objective=objective)


def scales(levels: int, steps: int, univariate: Univariate, hidden: Sequence[int]) -> list[Layer]:
    """Return the layers of ``levels`` scales, the finest first."""
    step = [ActNorm(), LULinear(), Coupling(univariate, hidden)]
    deeper = [FactorOut(scales(levels - 1, steps, univariate, hidden), hidden)] if levels > 1 else []
    return [Squeeze(), *step * steps, *deeper]
