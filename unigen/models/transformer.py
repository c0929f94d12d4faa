"""Transformer: an autoregressive density of token sequences and of flattened images.

    p(x | c) = Π_t p(x_t | x_{<t}, c)

Notation: x (N, T), c (N, C); one pass of a causal Transformer gives the parameters of all T conditionals, draws take
T steps with a cache of keys and values. The conditionals are those of a likelihood head.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pyro
import torch
from torch import Tensor

from unigen.checks import as_tensor
from unigen.distributions.finite import check_levels
from unigen.distributions.likelihoods import Categorical, Likelihood
from unigen.distributions.sequential import SequentialDistribution
from unigen.errors import ArgumentError
from unigen.nn.transformer import CausalTransformer
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe

START = 100_000  # numbers from which starting values are taken


class Transformer(Program):
    """An exact density of sequences of a fixed length, over tokens or any other conditional.

    Args:
        length: T, tokens of a window, or features of a flattened image.
        vocabulary: V, for tokens 0 … V−1; short for ``likelihood=Categorical(V)``.
        likelihood: The conditional, in place of a vocabulary: ``Bernoulli()``, ``Gaussian("network")``,
            ``MixtureOfLogistics(k, levels=256)`` …
        context: C; it is added to the input of every position.
        layers: Number of layers.
        width: W.
        heads: Heads of each attention.
        positions: ``"rotary"`` or ``"learned"``.
        dropout: Probability of dropping numbers while training.
        objective: What ``fit`` minimises.

    Raises:
        ArgumentError: Neither or both of vocabulary and likelihood, or a size out of range.

    References:
        Vaswani et al., Attention is all you need, NeurIPS 2017; Radford et al., GPT-2, 2019.

    Example:
        >>> Transformer(length=5, vocabulary=3, width=8, heads=2, layers=1).sample(2).shape
        torch.Size([2, 5])
    """

    recipe = Recipe(
        steps=3000,
        batch_size=32,
        lr=2e-3,
        optimizer=partial(torch.optim.AdamW, betas=(0.9, 0.98), weight_decay=0.1),
        schedule=Cosine(warmup=100),
        clip=1.0,
    )

    def __init__(
        self,
        length: int,
        vocabulary: int | None = None,
        *,
        likelihood: Likelihood | None = None,
        context: int = 0,
        layers: int = 4,
        width: int = 128,
        heads: int = 4,
        positions: str = "rotary",
        dropout: float = 0.0,
        objective: Objective = MaximumLikelihood(),
    ) -> None:
        if (vocabulary is None) == (likelihood is None):
            raise ArgumentError(
                program="Transformer",
                got="both" if vocabulary else "neither",
                expected="a vocabulary or a likelihood",
                hint="Transformer(length=256, vocabulary=65)",
            )
        super().__init__((length,), context=context, objective=objective)
        classes: Any = vocabulary
        self.likelihood = Categorical(classes) if likelihood is None else likelihood
        self.net = CausalTransformer(
            length,
            self.likelihood.parameters_per_feature,
            classes=self.likelihood.classes if isinstance(self.likelihood, Categorical) else None,
            inputs=self.likelihood.inputs_per_feature,
            context=context,
            width=width,
            layers=layers,
            heads=heads,
            positions=positions,
            dropout=dropout,
        )

    def check_batch(self, x: object, context: object = None) -> tuple[Tensor, Tensor | None]:
        """Return (x, context) as valid tensors; a token outside the vocabulary is named with its place."""
        check_levels(as_tensor(x, self.name), self.likelihood, self.name)
        return super().check_batch(x, context)

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x | c)."""
        with self.plate(x, n):
            return pyro.sample("x", self.marginal(context), obs=x)

    def marginal(self, context: Tensor | None = None) -> SequentialDistribution:
        """Return p(x | c), exact."""
        return SequentialDistribution(self.net, self.likelihood, self.event_shape, context)

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start at independent features of one distribution, with standardised inputs where x is real."""
        pooled = x.reshape(-1, 1)
        pooled = pooled[:: -(-pooled.shape[0] // START)]
        real = not self.likelihood.discrete
        self.net.start_at(self.likelihood.marginals(pooled)[0], pooled if real else None)
