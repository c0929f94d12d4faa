"""Mixture of programs.

    z ~ Categorical(π_1 … π_K),    x | z, c ~ p_z(x | c),    p(x | c) = Σ_k π_k p_k(x | c),
    p(z = k | x, c) = r_k = π_k p_k(x | c) / p(x | c)

Each p_k is any program with a density or a bound. Its own latents stay inside it, summed out by its own density:
only the latents of the component that was chosen exist, so they would make no sites that every draw has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from unigen.densities.responsibility_bound import ResponsibilityBound
from unigen.distributions.choice import Chosen, ProgramMixture, check_components, log_prob_table
from unigen.distributions.linear_gaussian import check_weights
from unigen.errors import ArgumentError
from unigen.logprob import Kind
from unigen.objectives.objective import Objective
from unigen.objectives.weighted import default_objective, need_exact, raise_components, seed_components
from unigen.program import Program


class Mixture(Program):
    """p(x, z | c) = π_z p_z(x | c) with the responsibilities as the guide.

    The density is exact where those of the components are; components with bounds make it a bound. An
    unnormalised component makes it unnormalised: Σ_k π_k exp(−E_k(x)) leaves out the Z_k, so the weights are
    π_k Z_k up to a factor, and neither responsibilities nor draws follow them.

    Args:
        components: K programs with one event shape and one support; conditional ones share one context c.
        shrinkage: ν, examples spread over all data that every component gets in an EM step. With 0, the likelihood
            never falls in a step.
        objective: What ``fit`` does. If omitted: ``EM()`` where every component has a weighted ``solve`` or
            ``em_step``, ``MaximumLikelihood()`` for other exact densities, else ``ELBO(enumerate=True)``.

    Raises:
        ArgumentError: No components, one twice, or a negative shrinkage.
        ShapeError, SupportError, ContextError: Two components do not fit; the message names both.
        NoDensityError: A component has draws only.

    References:
        Tipping & Bishop, Mixtures of probabilistic principal component analysers, 1999; Dempster, Laird & Rubin 1977.

    Example:
        >>> from unigen.models.ppca import PPCA
        >>> mixture = Mixture([PPCA(features=3, latents=1) for _ in range(2)])
        >>> print(mixture.formula, mixture.log_prob(torch.zeros(1, 3)).kind, sep=" | ")
        p(x, z) = p(x | z) p(z);  q(z | x) | exact
    """

    seeded: Tensor

    def __init__(
        self, components: Sequence[Program], *, shrinkage: float = 0.0, objective: Objective | None = None
    ) -> None:
        kind, context = check_components(components, "Mixture")
        if not shrinkage >= 0:
            raise ArgumentError(program="Mixture", site="shrinkage", got=shrinkage, expected="≥ 0")
        bound = None if kind is Kind.EXACT else ResponsibilityBound(kind)
        objective = objective or default_objective(components, kind)
        shape = tuple(components[0].event_shape)
        super().__init__(shape, context=context, objective=objective, density=bound)
        self.components = nn.ModuleList(components)
        self.shrinkage = shrinkage
        self.logits = nn.Parameter(torch.zeros(len(components)))
        self.register_buffer("seeded", torch.zeros(1, dtype=torch.bool))

    @property
    def parts(self) -> list[Program]:
        """The K programs."""
        return cast(list[Program], list(self.components))

    @property
    def has_marginal(self) -> bool:
        """Whether every component's density is exact."""
        return self.density is None

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z | c)."""
        with self.plate(x, n):
            z = pyro.sample("z", dist.Categorical(logits=self.logits))
            return pyro.sample("x", Chosen(self.parts, z, context), obs=x)

    def guide(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Declare p(z | x, c), the responsibilities: exact where the densities are."""
        with self.plate(x):
            return pyro.sample("z", dist.Categorical(logits=self.responsibilities(x, context)))

    @torch.no_grad()
    def responsibilities(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log r, shape (N, K), without gradients: at the optimum over q that of the bound is the same."""
        cheap = self.training and self.density is not None and self.density.kind is Kind.LOWER_BOUND
        table = log_prob_table(self.parts, x, context, surrogate=cheap)
        return (table + self.logits).log_softmax(-1)

    def marginal(self, context: Tensor | None = None) -> ProgramMixture:
        """Return p(x | c) = Σ_k π_k p_k(x | c), exact."""
        return ProgramMixture(self.logits, self.parts, context)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Give each component a cluster of k-means on the data (N, *event_shape), N ≥ K, and a little of the rest.

        Raises:
            ShapeError: Fewer examples than components.
        """
        self._weigh(seed_components(self.parts, x, context, self.name))
        self.seeded.fill_(True)

    @torch.no_grad()
    def em_step(self, x: Tensor, weights: Tensor | None = None) -> None:
        """Replace π by the mean responsibilities, and raise Σ_i r_ik log p_k(x_i) in every component.

        A component without a weighted step of its own takes a few iterations of L-BFGS (generalised EM). One that
        is empty, or whose examples leave its likelihood without a maximum, keeps its parameters.

        Args:
            x: All data, shape (N, *event_shape).
            weights: How often each example counts, shape (N,); once if omitted.

        Raises:
            NoDensityError: The components' densities are not exact.
            ShapeError: Fewer examples than components.
        """
        w = check_weights(weights, x.shape[0], self.name)
        need_exact(self.parts, self.name)
        if not bool(self.seeded):
            self.initialise(x)
        r = self.responsibilities(x).double().exp()
        r = r if w is None else r * w[:, None]
        self._weigh(r)
        raise_components(self.parts, x, r + self.shrinkage * r.sum(1, keepdim=True) / r.sum())

    def _weigh(self, r: Tensor) -> None:
        """Write π for responsibilities r (N, K)."""
        self.logits.copy_((r.sum(0) / r.sum()).clamp_min(torch.finfo(self.dtype).tiny).log())
