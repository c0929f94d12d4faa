"""PixelCNN: an autoregressive density of images, gated convolutions without a blind spot.

    p(x | c) = Π_i p(x_i | x_{<i}, c),   i over pixels in raster order, over the channels within a pixel

Notation: x (N, C, H, W), c a context such as a one-hot class; one pass gives the parameters of all conditionals, draws
take one pass a feature, over half an image on average. The conditionals are those of a likelihood head.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pyro
import torch
from torch import Tensor

from unigen.distributions.likelihoods import Likelihood
from unigen.distributions.sequential import SequentialDistribution
from unigen.nn.gated_conv import GatedPixelNet
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe

START = 100_000  # numbers from which starting values are taken


class PixelCNN(Program):
    """An exact density of images with binary, categorical, Gaussian or mixture conditionals.

    Args:
        shape: (C, H, W).
        likelihood: The conditional: ``Bernoulli()``, ``Categorical(k)``, ``MixtureOfLogistics(k, levels=256)`` …
        context: Number of context features.
        width: Features of each stack.
        layers: Number of layers.
        kernel: Odd size of the convolutions; a pixel sees all before it if layers · (kernel // 2) ≥ max(H, W) − 1.
        dropout: Probability of dropping features while training.
        objective: What ``fit`` minimises.

    References:
        van den Oord et al., Conditional image generation with PixelCNN decoders, NeurIPS 2016.

    Example:
        >>> from unigen.distributions.likelihoods import Bernoulli
        >>> PixelCNN((1, 4, 4), Bernoulli(), width=8, layers=2).sample(3).shape
        torch.Size([3, 1, 4, 4])
    """

    recipe = Recipe(
        steps=1500,
        batch_size=64,
        lr=2e-3,
        optimizer=partial(torch.optim.AdamW, betas=(0.9, 0.98), weight_decay=1e-2),
        schedule=Cosine(warmup=50),
        clip=5.0,
    )

    def __init__(
        self,
        shape: tuple[int, int, int],
        likelihood: Likelihood,
        *,
        context: int = 0,
        width: int = 32,
        layers: int = 5,
        kernel: int = 5,
        dropout: float = 0.0,
        objective: Objective = MaximumLikelihood(),
    ) -> None:
        super().__init__(tuple(shape), context=context, objective=objective)
        self.likelihood = likelihood
        size: Any = tuple(shape)
        self.net = GatedPixelNet(
            size,
            likelihood.parameters_per_feature,
            inputs=likelihood.inputs_per_feature,
            context=context,
            width=width,
            layers=layers,
            kernel=kernel,
            dropout=dropout,
        )

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x | c)."""
        with self.plate(x, n):
            return pyro.sample("x", self.marginal(context), obs=x)

    def marginal(self, context: Tensor | None = None) -> SequentialDistribution:
        """Return p(x | c), exact."""
        return SequentialDistribution(self.net, self.likelihood, self.event_shape, context)

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start at independent pixels of one distribution, with standardised inputs where x is real."""
        pooled = x.reshape(-1, 1)
        pooled = pooled[:: -(-pooled.shape[0] // START)]
        real = not self.likelihood.discrete
        self.net.start_at(self.likelihood.marginals(pooled)[0], pooled if real else None)
