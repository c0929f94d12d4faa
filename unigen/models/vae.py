"""The variational autoencoder, whose three parts are a network with a head or any program.

    p(x, z | c) = p(x | z, c) p(z | c)          q(z | x, c)

Notation: x (N, *event) observed, of D numbers, z (N, L) latent, c (N, C) context. A network and a head make a
conditional distribution: the decoder gives parameters of the likelihood, the encoder those of the posterior.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from unigen.distributions.composition import check_decoder, check_latent
from unigen.distributions.conditional import Conditional, is_program, part_name, width_of
from unigen.distributions.likelihoods import Gaussian, Likelihood
from unigen.distributions.own_draws import own_draws
from unigen.distributions.posteriors import FLOOR as FLOOR
from unigen.distributions.posteriors import MeanField, Posterior
from unigen.distributions.standard import Part, StandardNormal, as_distribution
from unigen.nn.mlp import MLP
from unigen.objectives.elbo import ELBO
from unigen.objectives.objective import Objective
from unigen.program import Program

ROWS = 4096  # examples from which a decoder's starting values are set


class VAE(Program):
    """p(x, z) = p(x | z) p(z) with an amortised posterior q(z | x); any part may be another program.

    Args:
        features: D, length of x, or the shape of one example.
        latents: L, length of z.
        prior: p(z): a program, a distribution or a module; N(0, I) if omitted.
        posterior: q(z | x) given the encoder's output: ``MeanField()`` (the default), ``FullCovariance()``,
            ``MixturePosterior(k)``; or a program, ``IAF(L, context=H)``, for which the encoder gives H numbers.
        likelihood: p(x | z) given the decoder's output: ``Gaussian()``, ``Bernoulli()``, ``Categorical(k)``.
        hidden: Widths of the hidden layers of both networks.
        encoder: Network x, c → (N, numbers the posterior takes), replacing the perceptron; or a program with
            ``context=D`` (or D + C) that is q(z | x) itself.
        decoder: Network z, c → (N, D · parameters per feature), replacing the perceptron; or a program with
            ``context=L`` (or L + C) that is p(x | z) itself: ``MADE(D, context=L)``, ``NSF(D, context=L)``.
        context: C, features of the context.
        objective: The bound that ``fit`` maximises.

    Raises:
        ShapeError, SupportError, ContextError: Two parts do not meet; the message names both.
        NoDensityError, KindError: A part has no density of the kind that a bound needs.
        ArgumentError: A head beside a program that needs none.

    References:
        Kingma & Welling, Auto-encoding variational Bayes, 2014; Rezende, Mohamed & Wierstra 2014; Kingma et al.,
        Inverse autoregressive flow, 2016; Chen et al., Variational lossy autoencoder, 2017.

    Example:
        >>> vae = VAE(features=64, latents=2)
        >>> print(vae.formula)
        p(x, z) = p(x | z) p(z);  q(z | x)
        >>> vae.sample(3).shape
        torch.Size([3, 64])
    """

    prior: Any

    def __init__(
        self, features: int | Sequence[int], latents: int = 2, *, prior: Part | None = None,
        posterior: Posterior | Program | None = None, likelihood: Likelihood | Program | None = None,
        hidden: Sequence[int] = (256, 256), encoder: nn.Module | None = None, decoder: nn.Module | None = None,
        context: int = 0, objective: Objective = ELBO(),
    ) -> None:  # fmt: skip
        event = (features,) if isinstance(features, int) else tuple(features)
        super().__init__(event, context=context, objective=objective)
        self.latents = latents
        self.prior = StandardNormal(latents) if prior is None else prior
        self.head = posterior if posterior is not None or is_program(encoder) else MeanField()
        self.likelihood = likelihood if likelihood is not None or is_program(decoder) else Gaussian()
        width = width_of(self.likelihood, event) if decoder is None else 0
        self.decoder = MLP(latents, width, hidden=hidden, context=context) if decoder is None else decoder
        self.reads_codes = encoder is None
        reads, width = self.conditional.code_width, width_of(self.head, (latents,)) if encoder is None else 0
        self.encoder = MLP(reads, width, hidden=hidden, context=context) if encoder is None else encoder
        size = self.event_shape.numel()
        self.amortised.check_input(f"{size} numbers of x", size, context, "VAE")
        self.conditional.check_input(f"latents of the prior {part_name(self.prior)}", latents, context, "VAE")
        if hasattr(self.prior, "bind"):  # a part made of the program's own posterior
            self.prior.bind(self)
        else:
            p = as_distribution(self.prior, self._dummy_context(1), "VAE")
            check_latent(self.prior, p, self.amortised, "VAE")
        check_decoder(self.conditional, self.prior, "VAE")
        self.posterior_label = self.amortised.label

    @property
    def amortised(self) -> Conditional:
        """q(z | x, c)."""
        return Conditional("posterior", self.encoder, self.head, (self.latents,))

    @property
    def conditional(self) -> Conditional:
        """p(x | z, c)."""
        return Conditional("decoder", self.decoder, self.likelihood, self.event_shape)

    def codes(self, x: Tensor) -> Tensor:
        """Return what the encoder reads: one-hot classes and the like for its own perceptron."""
        x = self.conditional.code(x) if self.reads_codes else x
        return x.flatten(1) if is_program(self.encoder) else x

    def posterior_of(self, x: Tensor, context: Tensor | None = None) -> TorchDistribution:
        """Return q(z | x, c), batch shape (N,)."""
        return self.amortised(self.codes(x), context)

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z | c)."""
        with self.plate(x, n):
            z = pyro.sample("z", as_distribution(self.prior, context))
            return pyro.sample("x", self.conditional(z, context), obs=x)

    def guide(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Declare q(z | x, c)."""
        with self.plate(x):
            return pyro.sample("z", own_draws(self.posterior_of(x, context)))

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start at the data what starts from data: a learned noise scale, a decoder or prior that is a program."""
        if isinstance(self.likelihood, Likelihood):
            self.likelihood.initialise(x.flatten(1))
        rows = slice(None, None, max(1, x.shape[0] // ROWS))
        x, context = x[rows], None if context is None else context[rows]
        if hasattr(self.prior, "bind"):
            self.prior.initialise(x, context)
        if self.conditional.label is not None:
            self.conditional.initialise(x, self.posterior_of(x, context).sample(), context)


def linear_vae(features: int, latents: int) -> VAE:
    """Return a VAE whose networks are affine and whose likelihood is an isotropic Gaussian.

    At the optimum of its ELBO it is PPCA (Lucas et al., Don't blame the ELBO!, 2019).
    """
    vae = VAE(features, latents, hidden=(), likelihood=Gaussian("learned"))
    with torch.no_grad():
        vae.decoder.get_parameter("layers.0.weight").mul_(0.1)
    return vae
