"""Belief propagation: messages along the edges, exact on trees, and the Bethe estimate of log Z on other graphs.

    u_{i→j} = atanh(tanh J_ij tanh θ_{i→j}),    θ_{i→j} = θ_i + Σ_{k ≠ j} u_{k→i},    E s_i = tanh(θ_i + Σ_k u_{k→i})
    log Z = Σ_i log Z_i − Σ_(ij) log Z_ij

with Z_i = Σ_s e^{θ_i s} Π_k cosh(J_ik s + θ_{k→i}) / cosh θ_{k→i} and
Z_ij = Σ_{s,s'} exp(J_ij s s' + θ_{i→j} s + θ_{j→i} s') / (4 cosh θ_{i→j} cosh θ_{j→i}).
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from unigen.densities.mean_field import Beliefs, spins_of
from unigen.densities.normaliser import Normaliser
from unigen.distributions.pairwise_spins import PairwiseSpins
from unigen.distributions.spin_gibbs import log_cosh
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.logprob import Kind, LogProb
from unigen.program import Program


@final
class BeliefPropagation(Normaliser):
    """log Z by Bethe's formula at a fixed point of the messages: exact on trees, an estimate without error elsewhere.

    Args:
        steps: Largest number of rounds, in each of which all messages are renewed.
        damping: Share of the old message that is kept, 0 ≤ damping < 1; with loops it helps to converge.
        tolerance: A round that changes no message by more ends the search.

    Raises:
        ArgumentError: A number out of range.

    References:
        Pearl 1988; Yedidia, Freeman & Weiss, Constructing free-energy approximations and generalized belief propagation
        algorithms, 2005.

    Example:
        >>> import unigen as ug
        >>> chain = ug.Ising.grid(1, 4, coupling=0.5)
        >>> found = BeliefPropagation().log_z(chain)
        >>> print(found.kind, round(found.value.item(), 4), round(ug.Enumeration().log_z(chain).value.item(), 4))
        exact 3.1329 3.1329
    """

    kind = Kind.ESTIMATE

    def __init__(self, steps: int = 10_000, damping: float = 0.0, tolerance: float = 1e-7) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ArgumentError(
                program="BeliefPropagation", site="steps", got=steps, expected="a positive integer"
            )
        if not 0 <= damping < 1:
            raise ArgumentError(
                program="BeliefPropagation", site="damping", got=damping, expected="0 ≤ damping < 1"
            )
        if not tolerance > 0:
            raise ArgumentError(program="BeliefPropagation", site="tolerance", got=tolerance, expected="> 0")
        self.steps, self.damping, self.tolerance = steps, damping, tolerance

    def log_z(self, program: Program) -> LogProb:
        """Return Bethe's log Z in nats, shape (): exact on trees, else an estimate.

        Raises:
            UnsupportedQueryError: The program is not one of pairwise binary units, or the messages do not settle.
        """
        return self.solve(program).log_z

    @torch.no_grad()
    def solve(self, program: Program) -> Beliefs:
        """Return the means of the spins at the fixed point, and log Z there."""
        model = spins_of(program)
        u, change, done = torch.zeros_like(model.couplings), math.inf, 0
        while done < self.steps and change > self.tolerance:
            cavity = _cavity(model, u)
            new = 0.5 * (log_cosh(model.couplings + cavity) - log_cosh(model.couplings - cavity))
            new = self.damping * u + (1.0 - self.damping) * new
            change, u, done = float((new - u).abs().max()), new, done + 1
        if not change <= self.tolerance:
            raise UnsupportedQueryError(
                "the messages did not settle: the graph has loops and its couplings are strong",
                program=program.name,
                got=f"a change of {change:.2g} after {done} rounds",
                hint="BeliefPropagation(damping=0.5), NaiveMeanField(), or AnnealedNormaliser()",
            )
        kind = Kind.EXACT if model.acyclic else Kind.ESTIMATE
        return Beliefs((model.field + u.sum(0)).tanh(), LogProb(bethe(model, u), kind), done)


def _cavity(model: PairwiseSpins, u: Tensor) -> Tensor:
    """Return θ_{i→j} in row i, column j, from u_{i→j} likewise."""
    return (model.field + u.sum(0))[:, None] - u.mT


def bethe(model: PairwiseSpins, u: Tensor) -> Tensor:
    """Return Bethe's log Z in nats, shape (), at messages u (n, n), u_{i→j} in row i, column j."""
    j, cavity = model.couplings, _cavity(model, u)
    edge = (j != 0).to(j.dtype)
    normal = log_cosh(cavity)
    spins = []
    for s in (1.0, -1.0):
        sent = edge * (log_cosh(s * j + cavity) - normal)  # from i in row i to j in column j
        spins.append(s * model.field + sent.sum(0))
    units = torch.logaddexp(*spins).sum()
    both = torch.logaddexp(log_cosh(cavity + cavity.mT) + j, log_cosh(cavity - cavity.mT) - j)
    pairs = both + math.log(2.0) - math.log(4.0) - normal - normal.mT
    return units - 0.5 * (edge * pairs).sum() + model.constant
