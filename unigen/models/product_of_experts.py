"""Products of experts: energies add.

p(x | c) ∝ Π_k p_k(x | c)^{w_k},      E = Σ_k w_k E_k,      s(x) = Σ_k w_k s_k(x)
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import torch
from torch import Tensor, nn

from unigen.densities.density import Density
from unigen.densities.unnormalised import Unnormalised
from unigen.distributions.energy import EnergyDistribution
from unigen.errors import ArgumentError, NoDensityError, ShapeError
from unigen.logprob import Kind
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.samplers.langevin import Langevin
from unigen.samplers.sampler import Sampler


class ProductOfExperts(Program):
    """p(x) ∝ Π_k p_k(x)^{w_k}: what every expert finds likely, unnormalised, with the exact score.

    Args:
        experts: Programs over the same x and context, each with an exact or unnormalised density.
        weights: w_k > 0; all 1 if omitted.
        objective: What ``fit`` minimises by default; it trains all experts.
        sampler: How draws are made; chains start at draws of the experts.
        density: How ``log_prob`` is computed; −E(x) by default, ``Normalised(AnnealedNormaliser())`` for an estimate.

    Raises:
        ArgumentError: No expert, or other weights than experts.
        ShapeError: The experts are over different x.
        NoDensityError: An expert has only a bound or an estimate of its density.

    References:
        Hinton, Training products of experts by minimizing contrastive divergence, 2002; Du, Li & Mordatch,
        Compositional visual generation with energy based models, 2020.

    Example:
        >>> import unigen as ug
        >>> both = ProductOfExperts([ug.PPCA(2, 1), ug.GaussianMixture(2, 3)])
        >>> print(both.log_prob(torch.zeros(1, 2)).kind)
        unnormalised
    """

    def __init__(
        self,
        experts: Sequence[Program],
        weights: Sequence[float] | None = None,
        *,
        objective: Objective | None = None,
        sampler: Sampler = Langevin(steps=500, step_size=0.05, adjusted=True),
        density: Density = Unnormalised(),
    ) -> None:
        experts = tuple(experts)
        weights = (1.0,) * len(experts) if weights is None else tuple(float(w) for w in weights)
        if not experts or len(weights) != len(experts) or not all(0 < w < float("inf") for w in weights):
            raise ArgumentError(
                program="ProductOfExperts", got=f"{len(experts)} experts, weights {weights}",
                expected="at least one expert, and a positive weight for each",
            )  # fmt: skip
        first = experts[0]
        for expert in experts:
            self._check(expert, first)
        super().__init__(
            tuple(first.event_shape), context=first.context_features, objective=objective, sampler=sampler,
            density=density,
        )  # fmt: skip
        self.experts, self.weights = nn.ModuleList(experts), weights

    @staticmethod
    def _check(expert: Program, first: Program) -> None:
        same = expert.event_shape == first.event_shape and expert.context_features == first.context_features
        if not same or str(expert.support) != str(first.support):
            raise ShapeError(
                "all experts judge the same x", program="ProductOfExperts",
                got=f"{expert.name}: {tuple(expert.event_shape)}, context {expert.context_features}, {expert.support}",
                expected=f"{first.name}: {tuple(first.event_shape)}, context {first.context_features}, {first.support}",
            )  # fmt: skip
        if expert.kind not in (Kind.EXACT, Kind.UNNORMALISED):
            raise NoDensityError(
                "an expert's energy is its own density", program="ProductOfExperts",
                got=f"{expert.name}: kind {expert.kind}", hint="a flow, PPCA, a mixture or an EnergyModel",
            )  # fmt: skip

    def _each(self) -> list[Program]:
        return [expert for expert in self.experts if isinstance(expert, Program)]

    def potential(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return E(x | c) = Σ_k w_k E_k(x | c) in nats, shape (N,)."""
        return -sum(
            (w * e.density_of(x, context).value for w, e in zip(self.weights, self._each(), strict=True)),
            start=x.new_zeros(()),
        )  # fmt: skip

    def start(self, n: int, context: Tensor | None = None) -> Tensor:
        """Return draws of the experts in turn, shape (n, *event_shape): where chains start."""
        with torch.no_grad():
            draws = torch.stack([expert.draw(n, context) for expert in self._each()])
        return draws[torch.arange(n) % draws.shape[0], torch.arange(n)]

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x | c), unnormalised."""

        def draw(shape: torch.Size) -> Tensor:
            rows = None if context is None else context.expand(*shape, context.shape[-1]).flatten(0, -2)
            return self.draw(shape.numel(), rows).reshape(*shape, *self.event_shape)

        with self.plate(x, n):
            support = self._each()[0].support
            p = EnergyDistribution(
                lambda at: self.potential(at, context), self.event_shape, draw, support=support, name=self.name
            )  # fmt: skip
            return pyro.sample("x", p, obs=x)
