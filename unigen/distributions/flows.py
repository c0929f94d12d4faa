"""Flows as modules: a stack of bijections and a standard normal base, p(x | c) rebuilt at every call.

    z = f_T ∘ … ∘ f_1(x | c),   log p(x | c) = log N(z; 0, I) + Σ_t log |det ∂f_t|

Notation: D features, C context features, T transforms. The first step is elementwise and learned: an affine map
for data on the reals; for data on [0, 1] a monotone spline followed by the normal quantile function, so that the
density lives on [0, 1]^D exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints

from unigen.distributions.conditioners import MaskedConditioner, PlainConditioner
from unigen.distributions.flow import FlowDistribution
from unigen.distributions.flow_steps import (
    AutoregressiveStep,
    CouplingStep,
    ElementwiseStep,
    Step,
    coupling_mask,
)
from unigen.distributions.transforms import Additive, Affine, Spline, Univariate
from unigen.distributions.zuko_adapter import ComposedTransform
from unigen.errors import ArgumentError, ContextError

SUPPORTS = {"real": constraints.real_vector, "unit": constraints.independent(constraints.unit_interval, 1)}
GAIN = 0.1  # factor on the last layers' initial weights: every transform starts near the identity
LIMIT = (
    10.0  # networks see data clipped to ± this: no data in unit scale get there, and far out the map is tame
)


class Flow(nn.Module):
    """p(x | c): steps from data to noise and a standard normal base. Call it to get the distribution.

    Args:
        features: D.
        steps: f_1 … f_T, data side first.
        context: C.
        support: ``"real"`` or ``"unit"``, the domain of the first step.

    Example:
        >>> flow = coupling_spline(3, context=2)
        >>> flow(torch.zeros(5, 2)).rsample().shape
        torch.Size([5, 3])
    """

    origin: Tensor

    def __init__(
        self, features: int, steps: Sequence[Step], *, context: int = 0, support: str = "real"
    ) -> None:
        super().__init__()
        self.features, self.context, self.support = features, context, support
        self.steps = nn.ModuleList(steps)
        self.register_buffer("origin", torch.zeros(features), persistent=False)

    def transform(self, context: Tensor | None = None) -> Transform:
        """Return z = f(x | c) for a context (..., C)."""
        return ComposedTransform(*(step(context) for step in self.steps))

    def forward(self, context: Tensor | None = None) -> FlowDistribution:
        """Return p(x | c), batch shape that of the context.

        Raises:
            ContextError: The context is missing, superfluous, or not (..., C).
        """
        if (context is None) != (self.context == 0) or (
            context is not None and context.shape[-1] != self.context
        ):
            raise ContextError(
                program="Flow",
                got="no context" if context is None else f"shape {tuple(context.shape)}",
                expected=f"(..., {self.context})" if self.context else "none",
            )
        base = dist.Normal(self.origin, torch.ones_like(self.origin)).to_event(1)
        batch = None if context is None else context.shape[:-1]
        return FlowDistribution(
            self.transform(context), base, batch_shape=batch, support=SUPPORTS[self.support]
        )

    @torch.no_grad()
    def standardise(self, x: Tensor) -> None:
        """Set the first step of a flow on the reals to (x − mean) / sd of the data; leave others alone.

        Splines act on [−5, 5], so data far from unit scale need this. Args: x (N, D), N ≥ 2.
        """
        first = self.steps[0]
        if isinstance(first, ElementwiseStep) and isinstance(first.univariate, Affine):
            mean, sd = x.mean(0), x.std(0)
            sd = torch.where(sd > 0, sd, torch.ones_like(sd))
            first.phi.copy_(torch.stack((-mean / sd, Affine.unclip(-sd.log())), dim=-1))


def _check(features: int, context: int, transforms: int, support: str) -> None:
    if features < 1 or context < 0 or transforms < 1:
        raise ArgumentError(
            program="Flow",
            got=(features, context, transforms),
            expected="features ≥ 1, context ≥ 0, transforms ≥ 1",
        )
    if support not in SUPPORTS:
        raise ArgumentError(
            program="Flow",
            site="support",
            got=support,
            expected="'real' or 'unit'",
            hint="(x + u) / levels dequantises counts into the unit interval",
        )


def _first(features: int, support: str, bins: int = 8) -> Step:
    return ElementwiseStep(features, Affine() if support == "real" else None, bins=bins)


def _coupling(
    features: int, univariate: Univariate, transforms: int, context: int, hidden: Sequence[int], support: str
) -> Flow:
    _check(features, context, transforms, support)
    if features == 1:  # nothing to couple with: the context alone, or free parameters
        return _autoregressive(1, univariate, transforms, context, hidden, support)

    def make(inputs: int, outputs: int) -> PlainConditioner:
        return PlainConditioner(
            inputs, outputs, univariate.size, context=context, hidden=hidden, gain=GAIN, limit=LIMIT
        )

    steps = [CouplingStep(coupling_mask(features, t), univariate, make) for t in range(transforms)]
    return Flow(features, [_first(features, support), *steps], context=context, support=support)


def _autoregressive(
    features: int, univariate: Univariate, transforms: int, context: int, hidden: Sequence[int], support: str
) -> Flow:
    _check(features, context, transforms, support)
    steps: list[Step] = [_first(features, support)]
    for t in range(transforms):
        order = range(features) if t % 2 == 0 else range(features - 1, -1, -1)
        limit = LIMIT if hidden else None  # an affine autoregression is exact everywhere
        net = MaskedConditioner(
            features, univariate.size, context=context, hidden=hidden, order=order, gain=GAIN, limit=limit
        )
        steps.append(AutoregressiveStep(net, univariate))
    return Flow(features, steps, context=context, support=support)


def coupling_affine(
    features: int,
    *,
    context: int = 0,
    transforms: int = 6,
    hidden: Sequence[int] = (128, 128),
    support: str = "real",
    additive: bool = False,
) -> Flow:
    """Return affine couplings (RealNVP), or additive ones (NICE).

    References:
        Dinh et al., NICE, 2014; Dinh et al., Density estimation using Real NVP, ICLR 2017.
    """
    return _coupling(features, Additive() if additive else Affine(), transforms, context, hidden, support)


def coupling_spline(
    features: int,
    *,
    context: int = 0,
    transforms: int = 4,
    hidden: Sequence[int] = (128, 128),
    bins: int = 8,
    bound: float = 5.0,
    support: str = "real",
) -> Flow:
    """Return rational-quadratic spline couplings, RQ-NSF (C); one pass each way.

    References:
        Durkan et al., Neural spline flows, NeurIPS 2019.
    """
    return _coupling(features, Spline(bins, bound), transforms, context, hidden, support)


def autoregressive_spline(
    features: int,
    *,
    context: int = 0,
    transforms: int = 3,
    hidden: Sequence[int] = (128, 128),
    bins: int = 8,
    bound: float = 5.0,
    support: str = "real",
) -> Flow:
    """Return autoregressive rational-quadratic splines, RQ-NSF (AR); draws take D passes.

    References:
        Durkan et al., Neural spline flows, NeurIPS 2019.
    """
    return _autoregressive(features, Spline(bins, bound), transforms, context, hidden, support)


def masked_affine(
    features: int,
    *,
    context: int = 0,
    transforms: int = 5,
    hidden: Sequence[int] = (128, 128),
    support: str = "real",
) -> Flow:
    """Return masked affine autoregressions (MAF); draws take D passes.

    References:
        Papamakarios et al., Masked autoregressive flow for density estimation, NeurIPS 2017.
    """
    return _autoregressive(features, Affine(), transforms, context, hidden, support)
