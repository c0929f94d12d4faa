"""MADE: an autoregressive density over a masked network, under one order of the features or several.

    p(x | c) = Π_i p(x_i | x_{<i}, c),        p(x | c) = 1/M Σ_m p(x | c, order m)

Notation: x (N, D), c (N, C); one masked network gives the parameters of all D conditionals in one pass. With M orders
the order is a latent variable, uniform and summed out: an ensemble of orders is this mixture, and the order-agnostic
objective its evidence lower bound. The conditionals are those of a likelihood head.
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
from unigen.distributions.mixture_of_orders import MixtureOfOrders
from unigen.distributions.order_conditioner import OrderConditioner, activation_of
from unigen.distributions.orders import check_orders
from unigen.errors import ArgumentError
from unigen.objectives.elbo import ELBO
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe


class MADE(Program):
    """An exact autoregressive density with Gaussian, Bernoulli, categorical or mixture conditionals.

    Args:
        features: D.
        likelihood: The conditional: ``Gaussian("network")`` by default, ``Bernoulli()``, ``Categorical(k)``,
            ``MixtureOfGaussians(k)``, ``MixtureOfLogistics(k, levels)``.
        context: C.
        hidden: Widths of the hidden layers.
        order: Order in which features are drawn; ascending by default.
        orders: M orders in its place: their number (ascending, descending, then random ones), or the permutations,
            as those of ``scan_orders`` for images. All weights are shared, the biases are each order's own.
        activation: Name of the nonlinearity in ``torch.nn``: "ReLU", "SiLU", "Tanh" …
        dropout: Probability that a hidden unit is left out of a training step.
        direct: Whether inputs are connected to outputs directly too, which speeds training up where D is large.
        objective: What ``fit`` minimises: −log p(x) for one order; for several an ELBO, one order drawn a batch.

    Raises:
        ArgumentError: An order that is no permutation, ``order`` beside ``orders``, or a size out of range.

    References:
        Germain, Gregor, Murray & Larochelle, MADE, ICML 2015; Uria, Murray & Larochelle, A deep and tractable
        density estimator, ICML 2014.

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
        orders: int | Sequence[Sequence[int]] = 1,
        activation: str = "ReLU",
        dropout: float = 0.0,
        direct: bool = False,
        objective: Objective | None = None,
    ) -> None:
        if order is not None and orders != 1:
            raise ArgumentError("order and orders exclude one another", program="MADE", hint="orders=[…, …]")
        found = check_orders(orders if order is None else [order], features)
        default = MaximumLikelihood() if len(found) == 1 else ELBO()
        super().__init__((features,), context=context, objective=objective or default)
        self.likelihood = Gaussian("network") if likelihood is None else likelihood
        p, k = self.likelihood.parameters_per_feature, self.likelihood.inputs_per_feature
        if len(found) == 1 and not direct:
            self.net = MaskedConditioner(
                features, p, context=context, hidden=hidden, order=found[0], inputs=k,
                activation=lambda: activation_of(activation, dropout),
            )  # fmt: skip
        else:
            self.net = OrderConditioner(
                found, p, context=context, hidden=hidden, inputs=k, activation=activation, dropout=dropout,
                direct=direct,
            )  # fmt: skip

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x | c)."""
        with self.plate(x, n):
            return pyro.sample("x", self.marginal(context), obs=x)

    def marginal(self, context: Tensor | None = None) -> AutoregressiveDistribution | MixtureOfOrders:
        """Return p(x | c), exact."""
        if isinstance(self.net, OrderConditioner):
            return MixtureOfOrders(self.net, self.likelihood, context)
        return AutoregressiveDistribution(self.net, self.likelihood, context)

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start at independent features fitted to the data, with centred inputs, standardised where x is real."""
        self.net.start_at(self.likelihood.marginals(x), None if self.likelihood.discrete else x)
        if self.likelihood.discrete:
            self.net.centre.copy_(self.likelihood.encode(x).mean(0))
