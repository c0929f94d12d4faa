"""The variational bound of a diffusion as a density: cheap, and a bound with a known error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast, final

import torch
from torch import Tensor

from unigen.densities.density import Density
from unigen.dynamics.denoiser import denoiser_of
from unigen.dynamics.time_density import TimeDensity, UniformTime
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.logprob import Kind, LogProb
from unigen.program import Program

Bound = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


@final
class DiffusionBound(Density):
    """ELBO(x) ≤ log p(x), by random times spread evenly over the levels of noise.

    Args:
        times: Times an example in each estimate, one network evaluation each.
        replicates: Independent estimates, whose scatter gives the standard error.
        density: How the times are spread over the levels of noise; `UniformLogSNR()` is best for most schedules.

    Raises:
        ArgumentError: Fewer than one time or two replicates.

    References:
        Kingma et al. 2021, Variational diffusion models.
    """

    kind = Kind.LOWER_BOUND

    def __init__(self, times: int = 32, replicates: int = 8, density: TimeDensity = UniformTime()) -> None:
        if times < 1 or replicates < 2:
            raise ArgumentError(
                program="DiffusionBound", got=f"times={times}, replicates={replicates}",
                expected="times >= 1, replicates >= 2",
            )  # fmt: skip
        self.times, self.replicates, self.density = times, replicates, density

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Return the bound in nats, shape (N,), and the standard error of its estimate.

        Raises:
            UnsupportedQueryError: The program has no bound by levels of noise.
        """
        if getattr(program, "bound", None) is None:
            raise UnsupportedQueryError(
                "no bound by levels of noise", program=program.name, hint="a Diffusion or a DDPM has one"
            )
        if not isinstance(self.density, UniformTime):
            denoiser = denoiser_of(program)
            self.density.check(denoiser.schedule, denoiser.start)
        n = x.shape[0]
        rows = x.repeat_interleave(self.times, 0)
        c = None if context is None else context.expand(n, context.shape[-1]).repeat_interleave(self.times, 0)
        lattice = torch.arange(self.times, dtype=x.dtype, device=x.device) / self.times
        draws = []
        for _ in range(self.replicates):
            u = torch.rand(n, 1, dtype=x.dtype, device=x.device)
            t = torch.remainder(u + lattice, 1.0).reshape(-1)
            value = self._weighed(program, rows, t, torch.randn_like(rows), c)
            draws.append(value.reshape(n, self.times).mean(1))
        values = torch.stack(draws)
        stderr = values.detach().std(0) / math.sqrt(self.replicates)
        return LogProb(values.mean(0), self.kind, stderr, max(1, x[:1].numel()))

    def _weighed(self, program: Program, x: Tensor, u: Tensor, eps: Tensor, context: Tensor | None) -> Tensor:
        """One draw of the bound an example, its diffusion term divided by the density of the time, (N,)."""
        bound = cast(Bound, program.bound)
        if isinstance(self.density, UniformTime):
            return bound(x, u, eps, context)
        denoiser = denoiser_of(program)
        t, factor = self.density.place(u, denoiser.schedule, denoiser.start)
        unit = denoiser.to_unit(x)
        fixed = -denoiser.prior_term(unit) - denoiser.reconstruction_term(unit) - denoiser.log_volume()
        fraction = ((t - denoiser.start) / (1.0 - denoiser.start)).clamp(0.0, 1.0)
        return fixed + factor * (bound(x, fraction, eps, context) - fixed)
