"""The variational autoencoder.

    p(x, z | c) = p(x | z, c) p(z)          q(z | x, c) = N(m(x, c), diag s(x, c)²)

Notation: x (N, D) observed, z (N, L) latent, c (N, C) context. The decoder network maps z to the parameters
of the likelihood; the encoder network maps x to m and s. Any program or distribution may be the prior.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from unigen.distributions.likelihoods import Gaussian, Likelihood
from unigen.distributions.standard import Part, StandardNormal, as_distribution
from unigen.errors import NoDensityError, ShapeError
from unigen.nn.mlp import MLP
from unigen.objectives.elbo import ELBO
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.traces import kind_of

FLOOR = 1e-4  # smallest posterior scale


class VAE(Program):
    """p(x, z) = p(x | z) p(z) with an amortised Gaussian posterior q(z | x).

    Args:
        features: D, length of x.
        latents: L, length of z.
        prior: p(z): a program, a distribution or a module; N(0, I) if omitted.
        likelihood: p(x | z) given the decoder's output: ``Gaussian()``, ``Bernoulli()``, ``Categorical(k)``.
        hidden: Widths of the hidden layers of both networks.
        encoder: Network x, c → (N, 2L), replacing the perceptron.
        decoder: Network z, c → (N, D · parameters per feature), replacing the perceptron.
        context: C, features of the context.
        objective: The bound that ``fit`` maximises.

    Raises:
        ShapeError: The prior's event shape is not (latents,).
        NoDensityError: The prior has draws only, no density.

    References:
        Kingma & Welling, Auto-encoding variational Bayes, 2014; Rezende, Mohamed & Wierstra 2014.

    Example:
        >>> vae = VAE(features=64, latents=2)
        >>> print(vae.formula)
        p(x, z) = p(x | z) p(z);  q(z | x)
        >>> vae.sample(3).shape
        torch.Size([3, 64])
    """

    def __init__(
        self,
        features: int,
        latents: int = 2,
        *,
        prior: Part | None = None,
        likelihood: Likelihood | None = None,
        hidden: Sequence[int] = (256, 256),
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        context: int = 0,
        objective: Objective = ELBO(),
    ) -> None:
        super().__init__((features,), context=context, objective=objective)
        self.latents = latents
        self.likelihood = Gaussian() if likelihood is None else likelihood
        self.prior = StandardNormal(latents) if prior is None else prior
        width = features * self.likelihood.parameters_per_feature
        self.encoder = (
            MLP(features, 2 * latents, hidden=hidden, context=context) if encoder is None else encoder
        )
        self.decoder = MLP(latents, width, hidden=hidden, context=context) if decoder is None else decoder
        given = as_distribution(self.prior, self._dummy_context(1), "VAE")
        if kind_of(given) is None:
            raise NoDensityError(
                f"the prior {type(self.prior).__name__} has no density, which the bound needs",
                program="VAE",
                site="z",
                hint="a prior with a density, a bound or an energy: NSF, PPCA, Diffusion, EnergyModel",
            )
        got = given.event_shape
        if got != (latents,):
            raise ShapeError(
                f"the prior {type(self.prior).__name__} does not fit the latent",
                program="VAE",
                site="z",
                got=tuple(got),
                expected=(latents,),
                hint=f"give the prior features={latents}",
            )

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z | c)."""
        with self.plate(x, n):
            z = pyro.sample("z", as_distribution(self.prior, context))
            raw = self.decoder(z, context) if self.context_features else self.decoder(z)
            return pyro.sample("x", self.likelihood(raw, self.event_shape), obs=x)

    def guide(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Declare q(z | x, c)."""
        with self.plate(x):
            raw = self.encoder(x, context) if self.context_features else self.encoder(x)
            loc, raw_scale = raw.chunk(2, -1)
            scale = nn.functional.softplus(raw_scale) + FLOOR
            return pyro.sample("z", dist.Normal(loc, scale).to_event(1))

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start a learned noise scale at the standard deviation of the data."""
        if isinstance(self.likelihood, Gaussian) and hasattr(self.likelihood, "raw_scale"):
            squares = (x - x.mean(0)).square()
            variance = squares.mean() if self.likelihood.raw_scale.numel() == 1 else squares.mean(0)
            self.likelihood.set_sigma(variance.sqrt().clamp_min(2 * self.likelihood.floor))


def linear_vae(features: int, latents: int) -> VAE:
    """Return a VAE whose networks are affine and whose likelihood is an isotropic Gaussian.

    At the optimum of its ELBO it is PPCA (Lucas et al., Don't blame the ELBO!, 2019).
    """
    vae = VAE(features, latents, hidden=(), likelihood=Gaussian("learned"))
    with torch.no_grad():
        vae.decoder.get_parameter("layers.0.weight").mul_(0.1)
    return vae
