"""log Z by sequential Monte Carlo: particles carried from a base to the energy, resampled on the way."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution

from unigen.densities.geometric_path import GeometricPath
from unigen.densities.normaliser import Normaliser
from unigen.dynamics.hamiltonian import State
from unigen.dynamics.particles import Particles, check_tempering, largest_rise
from unigen.errors import UnsupportedQueryError
from unigen.logprob import Kind, LogProb
from unigen.program import Program
from unigen.queries import evaluating

LONGEST = 1000  # changes of β after which the base is given up


@final
class SMCNormaliser(Normaliser):
    """log Z = Σ_t log 1/K Σ_k w_k^{(t)}, w^{(t)} = exp((β_t − β_{t−1}) (−E − log q)), resampled after each t.

    Each β is as far from the last as leaves an effective sample size of ``threshold`` K, so that an easy energy takes
    few and a hard one many. Particles then make Hamiltonian transitions at β.

    Args:
        particles: K.
        moves: Transitions after each change of β.
        leapfrog: Leapfrog steps of a transition.
        threshold: Effective sample size, as a fraction of K, to which each change of β may fall.
        base: q: a program with exact density and draws, or a torch distribution; a Gaussian fitted to the program's own
            draws if omitted.

    Raises:
        ArgumentError: A setting out of its range.

    References:
        Del Moral, Doucet & Jasra, Sequential Monte Carlo samplers, 2006; the error by the descendants of each founder:
        Chan & Lai 2013.

    Example:
        >>> import unigen as ug
        >>> print(SMCNormaliser(particles=64).log_z(ug.PPCA(2, 1)).kind)
        estimate
    """

    kind = Kind.ESTIMATE

    def __init__(
        self,
        particles: int = 1024,
        *,
        moves: int = 4,
        leapfrog: int = 5,
        threshold: float = 0.5,
        base: Program | Distribution | None = None,
    ) -> None:
        check_tempering("SMCNormaliser", particles, threshold, moves, leapfrog)
        self.particles, self.moves, self.leapfrog = particles, moves, leapfrog
        self.threshold, self.base = threshold, base

    def log_z(self, program: Program) -> LogProb:
        """Return the estimate of log Z in nats, shape (), with its standard error.

        Raises:
            UnsupportedQueryError: No path leads to this program, or the base is too far from it.
            NonFiniteError: No particle has a finite weight.
        """
        with evaluating(program), torch.no_grad():
            path = GeometricPath(program, self.base, self.leapfrog)
            value, stderr = self._carry(path)
        return LogProb(value.squeeze(0), Kind.ESTIMATE, stderr.squeeze(0))

    def _carry(self, path: GeometricPath) -> tuple[Tensor, Tensor]:
        state, beta = path.start(self.particles), 0.0
        cloud = Particles(self.particles, state.u)
        while beta < 1.0:
            rise = largest_rise(state.log_ratio, 1.0 - beta, self.threshold)
            cloud.weigh(rise * state.log_ratio)
            beta = min(1.0, beta + rise)
            if len(cloud.ess) > LONGEST:
                raise UnsupportedQueryError(
                    "the energy is out of the base's reach", program=path.program.name, got=f"β = {beta:.3g}",
                    hint="a base nearer to it (base=…), or more particles",
                )  # fmt: skip
            if beta < 1.0:
                chosen = cloud.resample()
                if chosen is not None:
                    state = State(state.u[chosen], state.log_base[chosen], state.log_ratio[chosen])
                for _ in range(self.moves):
                    state = path.transition(state, beta)
        return cloud.log_normaliser()
