"""The importance-weighted bound as a density.

log p(x) ≥ E log 1/K Σ_k p(x, z_k) / q(z_k | x),   with equality as K → ∞ (Burda et al. 2016).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.densities.density import Density
from unigen.densities.imputation import weighted_mean
from unigen.errors import ArgumentError
from unigen.logprob import Kind, LogProb
from unigen.queries import importance_bound

if TYPE_CHECKING:
    from unigen.program import Program


NUMBERS = 2**22  # of x times particles, held at once


class Importance(Density):
    """Importance-weighted lower bound with K samples from the guide, with its Monte Carlo error.

    Args:
        samples: K. One gives the ELBO.
        batch: Largest number of particles times examples held at once; as many as make four million numbers of x if
            omitted, which fit a processor's cache.
    """

    kind = Kind.LOWER_BOUND

    def __init__(self, samples: int = 1000, batch: int | None = None) -> None:
        if samples < 1 or (batch is not None and batch < 1):
            raise ArgumentError(site="samples", got=(samples, batch), expected="≥ 1")
        self.samples, self.batch = samples, batch

    def _batches(
        self, program: Program, x: Tensor, context: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        batch = NUMBERS // max(1, program.event_shape.numel()) if self.batch is None else self.batch
        rows = max(1, batch // self.samples)
        for i in range(0, x.shape[0], rows):
            yield x[i : i + rows], None if context is None else context[i : i + rows]

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Return the bound of each example in nats, shape (N,)."""
        batches = self._batches(program, x, context)
        parts = [importance_bound(program, rows, c, self.samples) for rows, c in batches]
        first = parts[0]
        errors = [part.stderr for part in parts if part.stderr is not None]
        return LogProb(
            torch.cat([part.value for part in parts]),
            first.kind,
            torch.cat(errors) if errors else None,
            first.dims,
        )

    def impute(self, program: Program, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return x with its missing entries replaced by E[x_mis | x_obs], by K self-normalised draws of z."""
        batches = self._batches(program, x, context)
        return torch.cat([weighted_mean(program, rows, c, self.samples) for rows, c in batches])
