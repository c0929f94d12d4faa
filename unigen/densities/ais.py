"""Annealed importance sampling as a density, from the guide (or the prior) to the joint p(x, z).

log p(x) ≥ E log 1/K Σ_k w_k forward;   log p(x) ≤ −E log 1/K Σ_k 1/w_k in reverse from z ~ p(z | x)   (Neal 2001;
Grosse, Ghahramani & Adams 2015).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from unigen.densities.annealing import forward, ladder, pilot, reverse
from unigen.densities.density import Density
from unigen.densities.latent_space import LatentSpace
from unigen.errors import ArgumentError, NonFiniteError, UnsupportedQueryError
from unigen.logprob import Kind, LogProb
from unigen.program import Program

PILOTS = 4  # chains an example that find the step sizes


def _repeat(x: Tensor, times: int) -> Tensor:
    return x.repeat(times, *(1,) * (x.dim() - 1))


def _select(latent: Tensor, axis: int, rows: slice, times: int) -> Tensor:
    """Return some examples of a latent, repeated, its plates and event left where they are."""
    return _repeat(latent.movedim(axis, 0)[rows], times).movedim(0, axis)


def _log_mean(log_w: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return log 1/K Σ w and the delta method's standard error, both (N,), of log w (K, N)."""
    k = log_w.shape[0]
    value = torch.logsumexp(log_w, 0) - math.log(k)
    if k == 1:
        return value, None
    return value, (log_w - value).exp().std(0) / math.sqrt(k)


@dataclass(frozen=True)
class Annealed:
    """What a run of annealed chains found.

    Args:
        bound: The bound on log p(x_i) in nats, shape (N,), with its Monte Carlo standard error.
        acceptance: Mean probability of acceptance for each example, shape (N,).
    """

    bound: LogProb
    acceptance: Tensor


@final
class AIS(Density):
    """Annealed importance sampling over the latents, each example by itself.

    π_t(z) ∝ q(z | x)^{1−β_t} p(x, z)^{β_t},   w = Π_t (p(x, z_{t−1}) / q(z_{t−1} | x))^{β_t − β_{t−1}},   E w = p(x).

    Transitions are Hamiltonian, their step sizes found for each example and β by a pilot run and then frozen, so that
    E w = p(x) holds exactly and E log 1/K Σ w ≤ log p(x). ``steps=1`` is the importance-weighted bound. The cost is
    about steps · leapfrog · (chains + 4) evaluations of log p(x, z) and its gradient an example.

    Args:
        steps: T, densities on the path.
        chains: K, independent chains an example; one gives a bound without standard error.
        leapfrog: Leapfrog steps a transition; 1 is MALA.
        from_prior: Anneal from the prior p(z) instead of the guide, for guides that are not to be trusted.
        batch: Largest number of chains times examples held at once.

    Raises:
        ArgumentError: A number that is not a positive integer.

    References:
        Neal, Annealed importance sampling, 2001; Wu, Burda, Salakhutdinov & Grosse, On the quantitative analysis of
        decoder-based generative models, 2017.

    Example:
        >>> import unigen as ug
        >>> from unigen.densities.ais import AIS
        >>> ppca, _ = ug.PPCA(features=3, latents=1), torch.manual_seed(0)
        >>> x = torch.randn(2, 3)
        >>> found = ppca.log_prob(x, density=AIS(steps=10, chains=4))  # the guide is exact, and so is the bound
        >>> print(found.kind, bool((found.value - ppca.log_prob(x).value).abs().max() < 1e-4))
        lower bound True
    """

    kind = Kind.LOWER_BOUND

    def __init__(
        self,
        steps: int = 500,
        chains: int = 16,
        *,
        leapfrog: int = 5,
        from_prior: bool = False,
        batch: int = 16_384,
    ) -> None:
        for name, value in (("steps", steps), ("chains", chains), ("leapfrog", leapfrog), ("batch", batch)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(program="AIS", site=name, got=value, expected="a positive integer")
        self.steps, self.chains, self.leapfrog = steps, chains, leapfrog
        self.from_prior, self.batch = from_prior, batch

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Return the lower bound of each example in nats, shape (N,), with its Monte Carlo standard error.

        Raises:
            UnsupportedQueryError: The latents cannot be annealed (see ``LatentSpace``), or x asks for a gradient.
        """
        return self.lower(program, x, context).bound

    def lower(self, program: Program, x: Tensor, context: Tensor | None = None) -> Annealed:
        """Return the lower bound and how often proposals were accepted."""
        return self._run(program, x, context, None)

    def upper(
        self, program: Program, x: Tensor, latents: Mapping[str, Tensor], context: Tensor | None = None
    ) -> Annealed:
        """Return the upper bound from one exact draw of the posterior an example.

        Args:
            program: The program.
            x: Data, shape (N, *event_shape).
            latents: By site, draws of p(z | x_i): the latents with which x was simulated, or those of an exact guide.
                Other draws give no bound.
            context: Shape (N, C), or None.

        Returns:
            −log 1/K Σ_k 1/w_k, an upper bound on log p(x_i) in expectation, in nats, shape (N,), without standard
            errors, since all chains of an example start from one draw; the mean over examples has one.
        """
        return self._run(program, x, context, latents)

    def _run(
        self, program: Program, x: Tensor, context: Tensor | None, latents: Mapping[str, Tensor] | None
    ) -> Annealed:
        if x.requires_grad and torch.is_grad_enabled():
            raise UnsupportedQueryError(
                "annealed chains have no gradient in x", program=program.name, hint="density=ug.Importance(…)"
            )
        size, runs = max(1, self.batch // max(self.chains, PILOTS)), []
        for i in range(0, x.shape[0], size):
            c = None if context is None else context[i : i + size]
            runs.append(self._chunk(program, x[i : i + size], c, latents, slice(i, i + size)))
        first = runs[0].bound
        errors = [run.bound.stderr for run in runs if run.bound.stderr is not None]
        value = torch.cat([run.bound.value for run in runs])
        if not bool(torch.isfinite(value).all()):
            bad = int((~torch.isfinite(value)).nonzero()[0])
            raise NonFiniteError(
                "no chain has a finite weight", program=program.name, got=f"example {bad}",
                hint="from_prior=True, or check that the guide's draws lie in the prior's support",
            )  # fmt: skip
        stderr = torch.cat(errors) if errors else None
        bound = LogProb(value, first.kind, stderr, first.dims)
        return Annealed(bound, torch.cat([run.acceptance for run in runs]))

    def _chunk(
        self,
        program: Program,
        x: Tensor,
        context: Tensor | None,
        latents: Mapping[str, Tensor] | None,
        rows: slice,
    ) -> Annealed:
        betas = ladder(self.steps)

        def space(chains: int) -> LatentSpace:
            c = None if context is None else _repeat(context, chains)
            return LatentSpace(program, _repeat(x, chains), c, self.from_prior)

        probe = space(PILOTS if self.steps > 1 else 1)
        step_sizes = (
            pilot(probe, probe.start(), betas, self.leapfrog, PILOTS)
            if self.steps > 1
            else x.new_zeros(0, x.shape[0])
        )
        main = space(self.chains)
        if latents is None:
            log_w, accepted = forward(main, main.start(), betas, step_sizes, self.leapfrog)
            value, stderr = _log_mean(log_w)
            kind = main.kind + Kind.LOWER_BOUND
        else:
            chosen = {
                name: _select(latents[name], axis, rows, self.chains)
                for name, axis in main.axis.items()
                if name in latents
            }
            log_w, accepted = reverse(main, main.pack(chosen), betas, step_sizes, self.leapfrog)
            value, stderr = -_log_mean(-log_w)[0], None  # chains with one start tell nothing about its noise
            kind = main.kind + Kind.UPPER_BOUND
        return Annealed(LogProb(value, kind, stderr, max(1, program.event_shape.numel())), accepted)
