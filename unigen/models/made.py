"""MADE: an autoregressive density over a masked network.

    p(x | c) = Π_i p(x_i | x_{<i}, c)

Notation: x (N, D), c (N, C); one masked network gives the parameters of all D conditionals in one pass, draws
take D passes. The conditionals are those of a likelihood head.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pyro
import torch
from torch import Tensor

from unigen.distributions.autoregressive import AutoregressiveDistribution
from unigen.distributions.conditioners import MaskedConditioner
from unigen.distributions.likelihoods import Gaussian, Likelihood
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe


class MADE(Program):
    """An exact autoregressive density with Gaussian, Bernoulli, categorical or mixture conditionals.

    Args:
        features: D.
        likelihood: The conditional: ``Gaussian("network")`` by default, ``Bernoulli()``, ``Categorical(k)``,
            ``MixtureOfGaussians(k)``.
        context: C.
        hidden: Widths of the hidden layers.
        order: Order in which features are drawn; ascending by default.
        objective: What ``fit`` minimises.

    References:
        Germain, Gregor, Murray & Larochelle, MADE, ICML 2015.

    Example:
        >>> from unigen.distributions.likelihoods import Bernoulli
        >>> MADE(features=4, likelihood=Bernoulli()).sample(3).shape
        torch.Size([3, 4])
    """

    recipe = Recipe(
        steps=1500,
        batch_size=128,
        lr=3e-3,
        optimizer=partial(torch.optim.AdamW, weight_decay=1e-2),
        schedule=Cosine(warmup=20),
        clip=20.0,
    )

    def __init__(
        self,
        features: int,
        *,
        likelihood: Likelihood | None = None,
        context: int = 0,
        hidden: Sequence[int] = (256, 256),
        order: Sequence[int] | None = None,
        objective: Objective = MaximumLikelihood(),
    ) -> None:
        super().__init__((features,), context=context, objective=objective)
        self.likelihood = Gaussian("network") if likelihood is None else likelihood
        self.net = MaskedConditioner(
            features,
            self.likelihood.parameters_per_feature,
            context=context,
            hidden=hidden,
            order=order,
            inputs=self.likelihood.inputs_per_feature,
        )

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x | c)."""
        with self.plate(x, n):
            return pyro.sample("x", self.marginal(context), obs=x)

    def marginal(self, context: Tensor | None = None) -> AutoregressiveDistribution:
        """Return p(x | c), exact."""
        return AutoregressiveDistribution(self.net, self.likelihood, context)

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start at independent features fitted to the data, with standardised inputs where x is real."""
        self.net.start_at(self.likelihood.marginals(x), None if self.likelihood.discrete else x)
