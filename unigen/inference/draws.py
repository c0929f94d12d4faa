"""Draws of a program's latents given data, and what follows from them for new data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.errors import UnsupportedQueryError
from unigen.inference.predictive import PosteriorPredictive
from unigen.logprob import Kind, LogProb
from unigen.program import Program

if TYPE_CHECKING:
    from unigen.densities.density import Density


@dataclass(frozen=True)
class Draws:
    """Draws of latents given data.

    Args:
        program: Whose latents they are.
        values: Draws by site, shape (chains, draws, *shape).
        statistics: By name, shape (chains, draws), in ArviZ's names: ``lp`` (log joint on the reals, nats); of chains
            ``acceptance_rate``, ``diverging``, ``n_steps``, ``tree_depth``, ``energy``; of a variational engine
            ``log_q`` (log density of the draw under it, nats).
        step_size: Of each chain, shape (chains,); None of a variational engine.
        data: What was given, shape (N, *event_shape).
        context: Shape (N, C) or None.
    """

    program: Program
    values: dict[str, Tensor]
    statistics: dict[str, Tensor] = field(default_factory=dict)
    step_size: Tensor | None = None
    data: Tensor | None = None
    context: Tensor | None = None

    def __getitem__(self, site: str) -> Tensor:
        """Return the draws of a site, shape (chains, draws, *shape)."""
        return self.values[site]

    def __len__(self) -> int:
        """Return the number of draws of all chains together."""
        chains, draws = next(iter(self.values.values())).shape[:2]
        return chains * draws

    def __repr__(self) -> str:
        """Return sites and shapes, and how many transitions diverged."""
        sites = ", ".join(f"{name}: {tuple(value.shape)}" for name, value in self.values.items())
        if "log_q" in self.statistics:
            return f"Draws({self.program.name}; {sites}; from a fitted guide)"
        divergent = int(self.statistics["diverging"].sum()) if "diverging" in self.statistics else 0
        return f"Draws({self.program.name}; {sites}; {divergent} divergent)"

    @property
    def log_weights(self) -> Tensor:
        """log p(x, θ_s) − log q(θ_s) of draws of a variational engine, shape (S, chains), in nats.

        Raises:
            UnsupportedQueryError: The draws are those of Markov chains, which have no q.
        """
        if "log_q" not in self.statistics:
            raise UnsupportedQueryError(
                "draws of Markov chains have no importance weights", program=self.program.name
            )
        return (self.statistics["lp"] - self.statistics["log_q"]).T

    @property
    def log_evidence(self) -> LogProb:
        """log p(x) of all data together by importance sampling, a lower bound in expectation, shape (1,), in nats.

        Raises:
            UnsupportedQueryError: The draws are those of Markov chains.
        """
        log_w = self.log_weights
        s = log_w.shape[0]
        value = torch.logsumexp(log_w, 0) - math.log(s)
        stderr = (log_w - value).exp().std(0) / math.sqrt(s) if s > 1 else None
        return LogProb(value, Kind.LOWER_BOUND, stderr)

    @property
    def predictive(self) -> PosteriorPredictive:
        """p(x* | x), to be passed as ``sampler=`` or ``density=`` to any query of the program."""
        shared = {site.name for site in self.program.structure.shared}
        values = {name: value.flatten(0, 1) for name, value in self.values.items() if name in shared}
        return PosteriorPredictive(values, chains=next(iter(self.values.values())).shape[0])

    def sample(self, n: int = 1, context: object = None, *, seed: int | None = None) -> Tensor:
        """Return n draws of new data x* ~ p(x* | x), each under a draw of θ; ``Program.sample`` under these draws.

        Args:
            n: Number of draws.
            context: Shape (n, C) or (1, C) for a conditional program.
            seed: Reproduces the draws.

        Returns:
            Draws, shape (n, *event_shape).

        Raises:
            ArgumentError: n is not a positive integer.
            UnsupportedQueryError: The program has no latent outside the plate.
        """
        return self.program.sample(n, context, sampler=self.predictive, seed=seed)

    def log_prob(
        self, x: object, context: object = None, *, density: Density | None = None, seed: int | None = None
    ) -> LogProb:
        """Return log p(x* | x) = log 1/S Σ_s p(x* | θ_s) of new data; ``Program.log_prob`` under these draws.

        Args:
            x: New data, shape (N, *event_shape).
            context: Shape (N, C) for a conditional program.
            density: Another way to compute it.
            seed: Reproduces a Monte Carlo value.

        Returns:
            LogProb of N values: an estimate with its standard error.

        Raises:
            UnsupportedQueryError: The program has no latent outside the plate.
        """
        return self.program.log_prob(x, context, density=density or self.predictive, seed=seed)
