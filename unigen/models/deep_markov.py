"""The deep Markov model: a state-space model whose transition and emission are networks.

    p(x, z) = Π_t N(z_t; m(z_{t−1}), diag s(z_{t−1})²) p(x_t | z_t)
    q(z | x) = Π_t N(z_t; m(z_{t−1}, h_t), diag s(z_{t−1}, h_t)²)

Notation: x (N, T, D) observed sequences, z (N, T, L) states; h_t summarises x_t … x_T, by a recurrent network that
reads backwards: given z_{t−1} the past of x says nothing more about z_t.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import torch
from torch import Tensor, nn

from unigen.distributions.gaussian_path import GaussianPath
from unigen.distributions.likelihoods import Gaussian, Likelihood
from unigen.distributions.missing import WithMissing
from unigen.errors import ArgumentError
from unigen.nn.mlp import MLP
from unigen.nn.recurrent import GRUCell
from unigen.objectives.elbo import ELBO
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe

FLOOR = 1e-3  # smallest scale of a step


class GaussianStep(nn.Module):
    """z_{t−1}, h ↦ mean and scale of z_t: a step from z_{t−1} by a network.

    Args:
        latents: L.
        known: H, length of h; 0 for none.
        hidden: Widths of the hidden layers.
    """

    def __init__(self, latents: int, known: int = 0, hidden: Sequence[int] = (64,)) -> None:
        super().__init__()
        self.net = MLP(latents, 2 * latents, hidden=hidden, context=known)

    def forward(self, z: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and scale, each (..., L)."""
        change, raw_scale = self.net(z, h).chunk(2, -1)
        return z + change, nn.functional.softplus(raw_scale) + FLOOR


class DeepMarkov(Program):
    """p(x_{1:T}, z_{1:T}) with neural transition and emission, and an amortised structured posterior.

    Args:
        features: D, length of one observation.
        length: T, steps of a sequence; pad shorter ones with NaN.
        latents: L, length of the state.
        likelihood: p(x_t | z_t) given the emission network's output; ``Gaussian()`` by default.
        hidden: Widths of the hidden layers of transition and emission.
        summary: H, width of the recurrent network.
        transition: Module z_{t−1} ↦ (mean, scale) of z_t, replacing the network.
        missing: NaN marks an entry that was not observed.
        objective: The bound that ``fit`` maximises.

    Raises:
        ArgumentError: A size below one.

    References:
        Krishnan, Shalit & Sontag, Structured inference networks for nonlinear state space models, AAAI 2017.

    Example:
        >>> model = DeepMarkov(features=3, length=5, latents=2)
        >>> print(model.formula, model.log_prob(torch.zeros(1, 5, 3)).kind, sep=" | ")
        p(x, z) = p(x | z) p(z);  q(z | x) | lower bound
    """

    recipe = Recipe(steps=2000, batch_size=64, lr=3e-3, schedule=Cosine(warmup=20), clip=10.0)

    def __init__(
        self,
        features: int,
        length: int,
        latents: int = 2,
        *,
        likelihood: Likelihood | None = None,
        hidden: Sequence[int] = (64,),
        summary: int = 64,
        transition: nn.Module | None = None,
        missing: bool = False,
        objective: Objective = ELBO(),
    ) -> None:
        if min(features, length, latents, summary) < 1:
            got = f"features={features}, length={length}, latents={latents}, summary={summary}"
            raise ArgumentError(program="DeepMarkov", got=got, expected="sizes ≥ 1")
        super().__init__((length, features), objective=objective)
        self.latents, self.missing = latents, missing
        self.likelihood = Gaussian() if likelihood is None else likelihood
        self.transition = GaussianStep(latents, hidden=hidden) if transition is None else transition
        self.emission = MLP(latents, features * self.likelihood.parameters_per_feature, hidden=hidden)
        self.start = nn.Parameter(torch.zeros(latents))
        self.reader = GRUCell(features * (2 if missing else 1), summary)
        self.posterior_step = GaussianStep(latents, summary, hidden)

    def _summary(self, x: Tensor) -> Tensor:
        """Return h_t, a summary of x_t … x_T, shape (N, T, H)."""
        if self.missing:
            seen = ~x.isnan()
            x = torch.cat((torch.where(seen, x, torch.zeros_like(x)), seen.to(x.dtype)), -1)
        h, path = x.new_zeros(x.shape[0], self.reader.hidden_size), []
        for t in range(self.event_shape[0] - 1, -1, -1):
            h = self.reader(x[:, t], h)
            path.append(h)
        return torch.stack(path[::-1], 1)

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z)."""
        with self.plate(x, n):
            z = pyro.sample("z", GaussianPath(self.transition, self.start, self.event_shape[0]))
            raw = self.emission(z).unflatten(-1, (self.event_shape[1], -1))
            each = self.likelihood.elementwise(raw, self.event_shape[1:]).to_event(2)
            return pyro.sample("x", WithMissing(each) if self.missing else each, obs=x)

    def guide(self, x: Tensor) -> Tensor:
        """Declare q(z | x)."""
        with self.plate(x):
            path = GaussianPath(self.posterior_step, self.start, self.event_shape[0], self._summary(x))
            return pyro.sample("z", path)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start a learned noise scale at the standard deviation of the data."""
        if isinstance(self.likelihood, Gaussian) and hasattr(self.likelihood, "raw_scale"):
            spread = (x - x.nanmean((0, 1))).square().nanmean((0, 1))
            spread = spread.mean() if self.likelihood.raw_scale.numel() == 1 else spread
            self.likelihood.set_sigma(spread.sqrt().clamp_min(2 * self.likelihood.floor))
