"""Normalizing flows: RealNVP, NSF and MAF.

    z = f(x | c),   p(x | c) = N(f(x | c); 0, I) |det ∂f/∂x|

Notation: x (N, D) data, z (N, D) noise, c (N, C) context. The density is exact and no variable is latent: f is a
bijection. Data on the reals are standardised by a learned elementwise affine map, set from the data by the first
``fit``; with ``support="unit"`` the density lives on [0, 1]^D exactly (pixels, dequantised counts).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pyro
import torch
from torch import Tensor

from unigen.distributions.bijection import inverse
from unigen.distributions.flow import FlowDistribution
from unigen.distributions.flows import (
    Flow,
    autoregressive_spline,
    coupling_affine,
    coupling_spline,
    masked_affine,
)
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe

DECAY = 1e-2  # weight decay


class FlowProgram(Program):
    """p(x | c) of a flow module; the families below build the module.

    Args:
        flow: Steps from data to noise and a base, callable with a context.
        objective: What ``fit`` minimises.
    """

    recipe = Recipe(
        steps=600,
        batch_size=256,
        lr=1e-3,
        optimizer=partial(torch.optim.AdamW, weight_decay=DECAY),
        schedule=Cosine(warmup=20),
        clip=20.0,
    )

    def __init__(self, flow: Flow, objective: Objective = MaximumLikelihood()) -> None:
        super().__init__((flow.features,), context=flow.context, objective=objective)
        self.flow = flow

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x | c)."""
        with self.plate(x, n):
            return pyro.sample("x", self.flow(context), obs=x)

    def marginal(self, context: Tensor | None = None) -> FlowDistribution:
        """Return p(x | c), exact."""
        return self.flow(context)

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Standardise data on the reals."""
        self.flow.standardise(x)

    def to_noise(self, x: object, context: object = None) -> Tensor:
        """Return z = f(x | c), shape (N, D): standard normal if the program fits the data."""
        rows, c = self.check_batch(x, context)
        with torch.no_grad():
            z = self.flow.transform(c)(rows)
        assert z is not None
        return z

    def from_noise(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return x = f⁻¹(z | c), shape (N, D)."""
        with torch.no_grad():
            return inverse(self.flow.transform(context), z)


class RealNVP(FlowProgram):
    """Affine couplings: z_b = x_b exp(s(x_a, c)) + t(x_a, c), one pass each way.

    Args:
        features: D.
        context: C.
        transforms: Number of couplings; the halves alternate.
        hidden: Widths of each network's hidden layers.
        support: ``"real"``, or ``"unit"`` for data in [0, 1].
        additive: Leave the scales out (NICE).
        objective: What ``fit`` minimises.

    References:
        Dinh, Sohl-Dickstein & Bengio, Density estimation using Real NVP, ICLR 2017.

    Example:
        >>> RealNVP(features=3).log_prob(torch.zeros(2, 3)).kind
        <Kind.EXACT: 'exact'>
    """

    def __init__(
        self,
        features: int,
        *,
        context: int = 0,
        transforms: int = 6,
        hidden: Sequence[int] = (128, 128),
        support: str = "real",
        additive: bool = False,
        objective: Objective = MaximumLikelihood(),
    ) -> None:
        options = {"context": context, "transforms": transforms, "hidden": hidden, "support": support}
        super().__init__(coupling_affine(features, additive=additive, **options), objective)


class NSF(FlowProgram):
    """Monotone rational-quadratic splines, in couplings or autoregressive.

    Args:
        features: D.
        context: C.
        transforms: Number of couplings or autoregressions.
        hidden: Widths of each network's hidden layers.
        bins: Bins K of each spline.
        support: ``"real"``, or ``"unit"`` for data in [0, 1].
        autoregressive: Let every feature see all before it; draws then take D passes instead of one.
        objective: What ``fit`` minimises.

    References:
        Durkan, Bekasov, Murray & Papamakarios, Neural spline flows, NeurIPS 2019.

    Example:
        >>> NSF(features=3, context=2).sample(4, torch.zeros(4, 2)).shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        features: int,
        *,
        context: int = 0,
        transforms: int = 6,
        hidden: Sequence[int] = (128, 128),
        bins: int = 8,
        support: str = "real",
        autoregressive: bool = False,
        objective: Objective = MaximumLikelihood(),
    ) -> None:
        build = autoregressive_spline if autoregressive else coupling_spline
        options = {"context": context, "transforms": transforms, "hidden": hidden, "support": support}
        super().__init__(build(features, bins=bins, **options), objective)


class MAF(FlowProgram):
    """Masked affine autoregressions: z_i = x_i exp(s_i(x_{<i}, c)) + t_i(x_{<i}, c); draws take D passes.

    Args:
        features: D.
        context: C.
        transforms: Number of autoregressions; the order of the features alternates.
        hidden: Widths of each network's hidden layers; () gives an affine autoregression, a Gaussian.
        support: ``"real"``, or ``"unit"`` for data in [0, 1].
        objective: What ``fit`` minimises.

    References:
        Papamakarios, Pavlakou & Murray, Masked autoregressive flow for density estimation, NeurIPS 2017.

    Example:
        >>> MAF(features=3).formula
        'p(x)'
    """

    def __init__(
        self,
        features: int,
        *,
        context: int = 0,
        transforms: int = 5,
        hidden: Sequence[int] = (128, 128),
        support: str = "real",
        objective: Objective = MaximumLikelihood(),
    ) -> None:
        options = {"context": context, "transforms": transforms, "hidden": hidden, "support": support}
        super().__init__(masked_affine(features, **options), objective)
