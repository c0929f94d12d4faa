"""The generative adversarial network: draws without a density.

    z ~ N(0, I),    x = a + (b − a) ⊙ σ(G(z, c))

Notation: x (N, *event) of D numbers, z (N, L), c (N, C) context, σ the logistic function, [a, b] the range of each
feature in the data, set by ``fit``, so that G works in units of order one and draws stay where data were seen; a
generator of your own gives x directly. There is no log p(x) and no way back from x to z; the critic that trains G
belongs to the objective.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NoReturn

import pyro
import torch
from torch import Tensor, nn

from unigen.densities.no_density import NoDensity, no_density
from unigen.distributions.implicit import Implicit
from unigen.distributions.standard import Part, StandardNormal, as_distribution
from unigen.errors import ArgumentError, ShapeError, UnsupportedQueryError
from unigen.nn.bounded import Bounded
from unigen.nn.mlp import MLP
from unigen.objectives.adversarial import Adversarial
from unigen.objectives.objective import Objective
from unigen.objectives.wasserstein_game import Wasserstein
from unigen.program import Program
from unigen.recipe import Cosine, Recipe


class GAN(Program):
    """x = G(z), z ~ N(0, I), trained against a critic; WGAN is the same program with another objective.

    Args:
        features: D, length of x, or the shape of one example.
        latents: L, length of z.
        prior: p(z): a program, a distribution or a module with differentiable draws; N(0, I) if omitted.
        hidden: Widths of the generator's hidden layers.
        generator: Network z, c → x (N, *event) or (N, D), replacing the perceptron and its box:
            ``ConvDecoder(L, (C, H, W))`` for images.
        context: C, features of the context.
        objective: The game that ``fit`` plays.

    Raises:
        NoDensityError: From every density query.
        UnsupportedQueryError: From ``posterior`` and ``encode``.

    References:
        Goodfellow et al., Generative adversarial nets, 2014.

    Example:
        >>> gan = GAN(features=64)
        >>> gan.sample(3).shape
        torch.Size([3, 64])
        >>> gan.formula
        'p(x, z) = p(x | z) p(z)'
    """

    recipe: ClassVar[Recipe] = Recipe(steps=7000, lr=1e-3, ema=0.999)
    has_posterior = False

    def __init__(
        self,
        features: int | Sequence[int],
        latents: int = 16,
        *,
        prior: Part | None = None,
        hidden: Sequence[int] = (256, 256),
        generator: nn.Module | None = None,
        context: int = 0,
        objective: Objective = Adversarial(),
    ) -> None:
        event = (features,) if isinstance(features, int) else tuple(features)
        if min(event, default=0) < 1 or latents < 1:
            raise ArgumentError(
                program="GAN", got=f"features={features}, latents={latents}", expected="both ≥ 1"
            )
        super().__init__(event, context=context, objective=objective, density=NoDensity())
        self.latents = latents
        self.prior = StandardNormal(latents) if prior is None else prior
        size = self.event_shape.numel()
        own = MLP(latents, size, hidden=hidden, activation=nn.LeakyReLU(0.2), context=context)
        self.generator = Bounded(own, size) if generator is None else generator
        got = as_distribution(self.prior, self._dummy_context(1), type(self).__name__).event_shape
        if got != (latents,):
            raise ShapeError(program="GAN", site="z", got=tuple(got), expected=(latents,))

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare z ~ p(z), x = G(z, c)."""

        def push(shape: torch.Size) -> Tensor:
            drawn = self.generator(z, context) if self.context_features else self.generator(z)
            if drawn.shape[z.dim() - 1 :].numel() != self.event_shape.numel():
                expected = f"(…, {self.event_shape.numel()}) or (…, *{tuple(self.event_shape)})"
                raise ShapeError(
                    program="GAN", argument="generator", got=tuple(drawn.shape), expected=expected
                )
            return drawn.reshape(*z.shape[:-1], *self.event_shape).expand(*shape, *self.event_shape)

        with self.plate(x, n):
            z = pyro.sample("z", as_distribution(self.prior, context))
            p = Implicit(self.event_shape, push, batch_shape=z.shape[:-1], name="GAN")
            return pyro.sample("x", p, obs=x)

    def guide(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> NoReturn:
        """Refuse: G is not invertible in general.

        Raises:
            UnsupportedQueryError: Always.
        """
        raise UnsupportedQueryError(
            "no posterior: there is no way back from x to z",
            program=self.name,
            site="z",
            hint="a VAE has one",
        )

    def surrogate(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Refuse: a GAN cannot be trained as a part by likelihood.

        Raises:
            NoDensityError: Always.
        """
        raise no_density(self.name)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Take the box of the generator from data."""
        if isinstance(self.generator, Bounded):
            self.generator.set_range(x.flatten(1))


class WGAN(GAN):
    """GAN with the Wasserstein objective and gradient penalty, under the name users look for.

    Args:
        features: D, length of x, or the shape of one example.
        latents: L, length of z.
        penalty: λ of the gradient penalty.
        critic_steps: Critic steps for each step of the generator.
        prior: As for GAN.
        hidden: As for GAN.
        generator: As for GAN.
        context: C, features of the context.

    References:
        Arjovsky, Chintala & Bottou 2017; Gulrajani et al. 2017.
    """

    recipe: ClassVar[Recipe] = Recipe(steps=4000, lr=2e-3, schedule=Cosine(final=0.1), ema=0.99)

    def __init__(
        self,
        features: int | Sequence[int],
        latents: int = 16,
        *,
        penalty: float = 10.0,
        critic_steps: int = 2,
        prior: Part | None = None,
        hidden: Sequence[int] = (256, 256),
        generator: nn.Module | None = None,
        context: int = 0,
    ) -> None:
        super().__init__(
            features,
            latents,
            prior=prior,
            hidden=hidden,
            generator=generator,
            context=context,
            objective=Adversarial(Wasserstein(penalty), critic_steps=critic_steps, betas=(0.0, 0.9)),
        )
