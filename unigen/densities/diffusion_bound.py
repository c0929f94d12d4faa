"""The variational bound of a diffusion as a density: cheap, and a bound with a known error."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from unigen.densities.density import Density
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.logprob import Kind, LogProb
from unigen.program import Program


@final
class DiffusionBound(Density):
    """ELBO(x) ≤ log p(x), by random times spread evenly over the levels of noise.

    Args:
        times: Times an example in each estimate, one network evaluation each.
        replicates: Independent estimates, whose scatter gives the standard error.

    Raises:
        ArgumentError: Fewer than one time or two replicates.

    References:
        Kingma et al. 2021, Variational diffusion models.
    """

    kind = Kind.LOWER_BOUND

    def __init__(self, times: int = 32, replicates: int = 8) -> None:
        if times < 1 or replicates < 2:
            raise ArgumentError(
                program="DiffusionBound", got=f"times={times}, replicates={replicates}",
                expected="times >= 1, replicates >= 2",
            )  # fmt: skip
        self.times, self.replicates = times, replicates

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Return the bound in nats, shape (N,), and the standard error of its estimate.

        Raises:
            UnsupportedQueryError: The program has no bound by levels of noise.
        """
        bound = getattr(program, "bound", None)
        if bound is None:
            raise UnsupportedQueryError(
                "no bound by levels of noise", program=program.name, hint="a Diffusion or a DDPM has one"
            )
        n = x.shape[0]
        rows = x.repeat_interleave(self.times, 0)
        c = None if context is None else context.expand(n, context.shape[-1]).repeat_interleave(self.times, 0)
        lattice = torch.arange(self.times, dtype=x.dtype, device=x.device) / self.times
        draws = []
        for _ in range(self.replicates):
            u = torch.rand(n, 1, dtype=x.dtype, device=x.device)
            t = torch.remainder(u + lattice, 1.0).reshape(-1)
            draws.append(bound(rows, t, torch.randn_like(rows), c).reshape(n, self.times).mean(1))
        values = torch.stack(draws)
        stderr = values.detach().std(0) / math.sqrt(self.replicates)
        return LogProb(values.mean(0), self.kind, stderr, max(1, x[:1].numel()))
