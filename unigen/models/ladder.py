"""The ladder VAE: a hierarchy of latents whose posterior runs top-down and shares the generative distributions.

    p(x, z) = p(x | z_1) Π_{l<L} p(z_l | z_{l+1}) p(z_L),    q(z | x) = q(z_L | x) Π_{l<L} q(z_l | z_{l+1}, x)

    q(z_l | z_{l+1}, x) ∝ N(z_l; m̂_l(x), ŝ_l(x)²) p(z_l | z_{l+1})

Notation: z_l (N, L_l), level 1 next to x; d_l(x) a deterministic bottom-up path that gives m̂_l and ŝ_l. The product of
two Gaussians has the sum of their precisions: the data correct what the level above expects. A VAE as the prior of
another has the same model and a posterior that runs bottom-up.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from unigen.distributions.likelihoods import Gaussian, Likelihood
from unigen.errors import ArgumentError
from unigen.nn.mlp import MLP
from unigen.objectives.elbo import ELBO
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe

FLOOR = 1e-3  # smallest scale


def _normal(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and scale of the two halves of a network's output."""
    loc, rho = raw.chunk(2, -1)
    return loc, nn.functional.softplus(rho) + FLOOR


def product(m: Tensor, s: Tensor, m_hat: Tensor, s_hat: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and scale of the Gaussian that is proportional to N(m, s²) N(m̂, ŝ²).

    Example:
        >>> one = torch.ones(())
        >>> product(0 * one, one, 2 * one, one)
        (tensor(1.), tensor(0.7071))
    """
    tau, tau_hat = s.square().reciprocal(), s_hat.square().reciprocal()
    return (m * tau + m_hat * tau_hat) / (tau + tau_hat), (tau + tau_hat).rsqrt()


class LadderVAE(Program):
    """A hierarchy of L levels with top-down inference; the sites are ``z_L`` … ``z_1``.

    Args:
        features: D, length of x.
        latents: L_1 … L_L, the lengths of the levels from x upwards.
        likelihood: p(x | z_1) given the decoder's output; ``Gaussian()`` by default.
        hidden: Widths of the hidden layers of every network.
        summary: Length of d_l, the bottom-up path.
        objective: The bound that ``fit`` maximises. Warming β up keeps upper levels in use.

    Raises:
        ArgumentError: No level, or a length below one.

    References:
        Sønderby, Raiko, Maaløe, Sønderby & Winther, Ladder variational autoencoders, NeurIPS 2016.

    Example:
        >>> print(LadderVAE(features=64, latents=(8, 4)).formula)
        p(x, z_2, z_1) = p(x | z_1) p(z_1 | z_2) p(z_2);  q(z_2, z_1 | x)
    """

    recipe = Recipe(steps=3000, batch_size=128, lr=1e-3, schedule=Cosine(warmup=50))
    origin: Tensor

    def __init__(
        self, features: int, latents: Sequence[int] = (16, 8), *, likelihood: Likelihood | None = None,
        hidden: Sequence[int] = (128,), summary: int = 64, objective: Objective = ELBO(),
    ) -> None:  # fmt: skip
        if min(latents, default=0) < 1 or summary < 1:
            got = f"latents={tuple(latents)}, summary={summary}"
            raise ArgumentError(program="LadderVAE", got=got, expected="at least one level, lengths ≥ 1")
        super().__init__((features,), objective=objective)
        self.latents = tuple(latents)
        self.likelihood = Gaussian() if likelihood is None else likelihood
        reads = [self.likelihood.input_width(features), *[summary] * (len(latents) - 1)]
        below, above = self.latents[:-1], self.latents[1:]
        self.upwards = nn.ModuleList(MLP(n, summary, hidden=hidden) for n in reads)
        self.recognition = nn.ModuleList(MLP(summary, 2 * size, hidden=()) for size in latents)
        self.downwards = nn.ModuleList(
            MLP(b, 2 * a, hidden=hidden) for a, b in zip(below, above, strict=True)
        )
        self.decoder = MLP(self.latents[0], self.likelihood.width(features), hidden=hidden)
        self.register_buffer("origin", torch.zeros(self.latents[-1]), persistent=False)

    def _prior(self, level: int, above: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and scale of p(z_l | z_{l+1}); levels count from 0 here."""
        if above is None:
            return self.origin, torch.ones_like(self.origin)
        return _normal(self.downwards[level](above))

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z)."""
        with self.plate(x, n):
            z: Tensor | None = None
            for level in range(len(self.latents) - 1, -1, -1):
                loc, scale = self._prior(level, z)
                z = pyro.sample(f"z_{level + 1}", dist.Normal(loc, scale).to_event(1))
            return pyro.sample("x", self.likelihood(self.decoder(z), self.event_shape), obs=x)

    def guide(self, x: Tensor) -> None:
        """Declare q(z | x), from the top down."""
        d, seen = self.likelihood.encode(x), []
        for up, recognise in zip(self.upwards, self.recognition, strict=True):
            d = nn.functional.silu(up(d))
            seen.append(_normal(recognise(d)))
        with self.plate(x):
            z: Tensor | None = None
            for level in range(len(self.latents) - 1, -1, -1):
                loc, scale = seen[level] if z is None else product(*self._prior(level, z), *seen[level])
                z = pyro.sample(f"z_{level + 1}", dist.Normal(loc, scale).to_event(1))

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start a learned noise scale at that of the data."""
        self.likelihood.initialise(x)
