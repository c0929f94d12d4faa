"""The importance-weighted bound as a density.

log p(x) ≥ E log 1/K Σ_k p(x, z_k) / q(z_k | x),   with equality as K → ∞ (Burda et al. 2016).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.densities.density import Density
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

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Return the bound of each example in nats, shape (N,)."""
        batch = NUMBERS // max(1, program.event_shape.numel()) if self.batch is None else self.batch
        rows = max(1, batch // self.samples)
        parts = [
            importance_bound(
                program, x[i : i + rows], None if context is None else context[i : i + rows], self.samples
            )
            for i in range(0, x.shape[0], rows)
        ]
        first = parts[0]
        errors = [part.stderr for part in parts if part.stderr is not None]
        return LogProb(
            torch.cat([part.value for part in parts]),
            first.kind,
            torch.cat(errors) if errors else None,
            first.dims,
        )
