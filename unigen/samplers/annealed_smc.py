"""Posterior draws of any program with a density: particles from p(x), the likelihood switched on by degrees.

    π_β(x) ∝ p(x) p(y | x)^β,      0 = β_0 < β_1 < … < 1,      w = p(y | x)^(β_t − β_{t−1}),

each β as large as the effective sample size allows, then resampling, then Hamiltonian moves that leave π_β invariant in
coordinates in which the particles have mean 0 and covariance I.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor
from torch.distributions import constraints

from unigen.dynamics.hamiltonian import hamiltonian, state_at
from unigen.dynamics.observation import Observation
from unigen.dynamics.particles import Particles, check_tempering, largest_rise
from unigen.errors import UnsupportedQueryError
from unigen.logprob import Kind
from unigen.program import Program
from unigen.samplers.smc import PosteriorSMC
from unigen.samplers.weighted_draws import WeightedDraws

TARGET = 0.8  # acceptance that step sizes are steered to
LONGEST = 1000  # degrees of β after which the observation is taken to be out of reach


@final
class AnnealedSMC(PosteriorSMC):
    """Draws of p(x | y) from any program on the reals with a density and draws: mixture, PPCA, flow, energy model.

    Asymptotically exact in the number of particles where the program's own draws are of its density; where those are
    the ends of Markov chains, as of an energy model, the moves mend them, but log p(y) keeps their bias.

    Args:
        observation: A ``LinearObservation``, an ``Inpainting``, or a function x (N, *event) -> log p(y | x) (N,).
        particles: K.
        moves: Hamiltonian transitions after each change of β.
        leapfrog: Leapfrog steps a transition, one gradient of the density each.
        threshold: Effective sample size, as a fraction of K, to which each change of β may fall.

    Raises:
        ArgumentError: A setting is out of range.

    References:
        Del Moral, Doucet & Jasra 2006, Sequential Monte Carlo samplers; Neal 2001.

    Example:
        >>> import unigen as ug
        >>> first = ug.Inpainting(torch.tensor([True, False]), torch.tensor([1.0, 0.0]), noise=0.1)
        >>> draws = ug.PPCA(2, 1).sample(5, sampler=AnnealedSMC(first, particles=64), seed=0)
        >>> draws.shape, bool((draws[:, 0] - 1.0).abs().max() < 0.5)
        (torch.Size([5, 2]), True)
    """

    def __init__(
        self,
        observation: Observation | Callable[[Tensor], Tensor],
        particles: int = 1024,
        *,
        moves: int = 4,
        leapfrog: int = 5,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(observation, particles, threshold)
        check_tempering("AnnealedSMC", particles, threshold, moves, leapfrog)
        self.moves, self.leapfrog = moves, leapfrog

    def walk(self, program: Program, particles: int, context: Tensor | None) -> WeightedDraws:
        """Carry particles from the program's draws to the posterior.

        Raises:
            UnsupportedQueryError: x is discrete or bounded, or the density is only bounded or estimated.
            ShapeError: The observation is not of such examples.
            NonFiniteError: No particle has a finite weight.
        """
        self._check(program)
        x = program.draw(particles, context)
        cloud, beta, step = Particles(particles, x), 0.0, x.new_full((1,), 0.5)
        while beta < 1.0:
            log_p = self.observation.log_prob(x)
            rise = largest_rise(log_p, 1.0 - beta, self.threshold)
            cloud.weigh(rise * log_p)
            beta = min(1.0, beta + rise)
            ancestors = cloud.resample()
            x = x if ancestors is None else x[ancestors]
            x, step = self._moved(program, context, x, beta, step)
            if len(cloud.ess) > LONGEST:
                raise UnsupportedQueryError(
                    "the observation is out of the reach of the program's draws", program=program.name,
                    hint="more particles, or more noise in the observation",
                )  # fmt: skip
        return WeightedDraws.of(x, cloud)

    def _moved(
        self, program: Program, context: Tensor | None, x: Tensor, beta: float, step: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Make the transitions in whitened coordinates; return the particles and the step size to begin with next."""
        loc, root = _whitening(x.flatten(1))

        def to_data(v: Tensor) -> Tensor:
            return (loc + v @ root.T).reshape(-1, *x.shape[1:])

        def path(v: Tensor) -> tuple[Tensor, Tensor]:
            at = to_data(v)
            return program.density_of(at, context).value, self.observation.log_prob(at)

        v = torch.linalg.solve_triangular(root, (x.flatten(1) - loc).T, upper=False).T
        state = state_at(path, v)
        for _ in range(self.moves):
            each = step * (0.8 + 0.4 * torch.rand(x.shape[0], dtype=x.dtype, device=x.device))
            state, accepted = hamiltonian(path, state, beta, each, self.leapfrog)
            step = (step * torch.exp(accepted.mean() - TARGET)).clamp(1e-4, 1.5)
        return to_data(state.u), step

    def _check(self, program: Program) -> None:
        support = program.support
        while isinstance(support, constraints.independent):
            support = support.base_constraint
        if support is not constraints.real:
            raise UnsupportedQueryError(
                "Hamiltonian moves need all of Euclidean space", program=program.name, site=program.observed,
                got=f"support {support}", hint="map x to the reals first",
            )  # fmt: skip
        if program.kind not in (Kind.EXACT, Kind.UNNORMALISED):
            raise UnsupportedQueryError(
                "p(x | y) needs the density itself", program=program.name, got=f"kind {program.kind}",
                hint="ug.TwistedSMC for a diffusion; a program whose log_prob is exact",
            )  # fmt: skip
        self.observation.check(torch.zeros(program.event_shape, dtype=program.dtype, device=program.device))


def _whitening(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and a lower root (D, D) of the covariance of rows (K, D), diagonal where they are few."""
    k, d = x.shape
    loc, eps = x.mean(0), 1e-6
    variance = x.var(0).clamp_min(torch.finfo(x.dtype).tiny) + eps * x.var(0).mean()
    if k < 10 * d:
        return loc, torch.diag(variance.sqrt())
    centred = x - loc
    covariance = centred.T @ centred / (k - 1) + torch.diag(eps * variance + torch.finfo(x.dtype).tiny)
    root, failed = torch.linalg.cholesky_ex(covariance)
    return loc, torch.diag(variance.sqrt()) if bool(failed) else root
