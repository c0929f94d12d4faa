"""The vector-quantised autoencoder: latents are indices into a codebook, under any prior over tokens.

    p(x, z) = p(x | e_{z_1} … e_{z_P}) p(z),    z_j ∈ {0 … K−1},    q(z | x) = δ(nearest codes of the encoder's output)

Notation: P positions, e (K, L) the codebook, v (N, P, L) the encoder's output. As q is a point mass, the ELBO is
log p(x | z) + log p(z) at the nearest codes z(x): one term of the sum log p(x) = log Σ_z p(x, z), and so a bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from unigen.densities.importance import Importance
from unigen.distributions.likelihoods import Gaussian, Likelihood
from unigen.distributions.standard import Part, as_distribution
from unigen.distributions.uniform_codes import UniformCodes
from unigen.errors import ShapeError, SupportError
from unigen.nn.codebook import Codebook
from unigen.nn.mlp import MLP
from unigen.objectives.objective import Objective
from unigen.objectives.vector_quantisation import VectorQuantisation
from unigen.program import Program
from unigen.recipe import Cosine, Recipe

ROWS = 4096  # examples from which the codebook starts


class VQVAE(Program):
    """p(x, z) = p(x | e_z) p(z) with codes z and the nearest-code posterior.

    Args:
        features: D, length of x, or the shape of one example.
        positions: P, codes of one example, or their grid (1, H, W) for a prior over images.
        codes: K, entries of the codebook.
        width: L, length of an entry.
        prior: p(z): a program over tokens, ``Transformer(P, K)``, ``MADE(P, likelihood=Categorical(K))`` …; uniform
            if omitted.
        likelihood: p(x | e_z) given the decoder's output; ``Gaussian()`` by default.
        hidden: Widths of the hidden layers of both networks.
        encoder: Network x → (N, P · L), replacing the perceptron.
        decoder: Network (N, P · L) → (N, numbers the likelihood takes), replacing the perceptron.
        context: C, features of a context c of both networks, and of the prior if it is conditional.
        decay: γ of the codebook's moving averages.
        restart: When an entry starts anew; see ``nn.codebook.Codebook``.
        objective: What ``fit`` minimises.

    Raises:
        ShapeError, SupportError: The prior is not one over P tokens of K values.
        ArgumentError: A size below one.

    References:
        van den Oord, Vinyals & Kavukcuoglu, Neural discrete representation learning, NeurIPS 2017.

    Example:
        >>> vqvae = VQVAE(features=64, positions=4, codes=8)
        >>> print(vqvae.formula, vqvae.log_prob(torch.zeros(1, 64)).kind, sep=" | ")
        p(x, z) = p(x | z) p(z);  q(z | x) | lower bound
    """

    recipe = Recipe(steps=3000, batch_size=128, lr=1e-3, schedule=Cosine(warmup=50))
    prior: Any

    def __init__(
        self, features: int | Sequence[int], positions: int | Sequence[int] = 8, codes: int = 64, width: int = 8, *,
        prior: Part | None = None, likelihood: Likelihood | None = None, hidden: Sequence[int] = (256, 256),
        encoder: nn.Module | None = None, decoder: nn.Module | None = None, context: int = 0, decay: float = 0.99,
        restart: float = 0.1, objective: Objective = VectorQuantisation(),
    ) -> None:  # fmt: skip
        event = (features,) if isinstance(features, int) else tuple(features)
        super().__init__(event, context=context, objective=objective, density=Importance(1))
        self.grid = torch.Size((positions,) if isinstance(positions, int) else positions)
        self.likelihood = Gaussian() if likelihood is None else likelihood
        self.codebook = Codebook(codes, width, decay=decay, restart=restart)
        self.prior = UniformCodes(codes, tuple(self.grid)) if prior is None else prior
        size, size_z = math.prod(event), self.grid.numel() * width
        reads, writes = self.likelihood.input_width(size), self.likelihood.width(size)
        self.reads_codes = encoder is None
        self.encoder = MLP(reads, size_z, hidden=hidden, context=context) if encoder is None else encoder
        self.decoder = MLP(size_z, writes, hidden=hidden, context=context) if decoder is None else decoder
        self._check_prior(codes)

    def _check_prior(self, codes: int) -> None:
        p, name = as_distribution(self.prior, self._dummy_context(1), "VQVAE"), type(self.prior).__name__
        if p.event_shape != self.grid:
            raise ShapeError(
                f"the prior {name} does not fit the codes", program="VQVAE", site="z", got=tuple(p.event_shape),
                expected=tuple(self.grid), hint=f"positions={tuple(p.event_shape)}, or another prior",
            )  # fmt: skip
        support: Any = p.support
        while inner := getattr(support, "base_constraint", None):
            support = inner
        if str(support) != str(constraints.integer_interval(0, codes - 1)):
            raise SupportError(
                f"the prior {name} is not one over the codes", program="VQVAE", site="z", got=support,
                expected=f"0 … {codes - 1}", hint=f"a prior of {codes} tokens, or codes=…",
            )  # fmt: skip

    def vectors(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return v, the encoder's output, shape (N, P, L)."""
        x = self.likelihood.encode(x.flatten(1)) if self.reads_codes else x
        v = self.encoder(x) if context is None else self.encoder(x, context)
        return v.reshape(x.shape[0], -1, self.codebook.features)

    def _likelihood(self, e: Tensor, context: Tensor | None) -> TorchDistribution:
        """Return p(x | e) of entries (..., P, L)."""
        raw = self.decoder(e.flatten(-2)) if context is None else self.decoder(e.flatten(-2), context)
        return self.likelihood(raw, self.event_shape)

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z | c)."""
        with self.plate(x, n):
            z = pyro.sample("z", as_distribution(self.prior, context))
            e = self.codebook.lookup(z.flatten(-len(self.grid)))
            return pyro.sample("x", self._likelihood(e, context), obs=x)

    def guide(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Declare q(z | x, c), a point mass at the nearest codes."""
        with self.plate(x):
            z = self.codebook.nearest(self.vectors(x, context)).unflatten(-1, self.grid)
            return pyro.sample("z", dist.Delta(z.to(x.dtype), event_dim=len(self.grid)))

    def straight_through(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return log p(x | e_z) (N,), z (N, *grid) and Σ_j ‖v_j − e_{z_j}‖² (N,), with gradients in the encoder."""
        k, e, distance = self.codebook(self.vectors(x, context))
        z = k.unflatten(-1, self.grid).to(x.dtype)
        return self._likelihood(e, context).log_prob(x), z, distance.sum(-1)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start the noise scale at that of the data, and the codebook at encoded examples."""
        self.likelihood.initialise(x.flatten(1))
        rows = slice(None, None, max(1, x.shape[0] // ROWS))
        v = self.vectors(x[rows], None if context is None else context[rows])
        self.codebook.start_at(v.flatten(0, 1))
