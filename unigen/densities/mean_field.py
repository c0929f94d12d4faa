"""Naive mean field: the best product of independent spins, and the lower bound of log Z that it gives.

    log Z ≥ L(m) = ½ mᵀ J m + θ·m + constant + Σ_i H(m_i),    log Z − L(m) = KL(q_m ‖ p)
    at its maxima m_i = tanh(θ_i + Σ_j J_ij m_j)

Notation: m_i = E_q s_i, H(m) the entropy of a spin with mean m. Units of one colour are updated together, which is
exact coordinate ascent: L never falls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import torch
from torch import Tensor

from unigen.densities.normaliser import Normaliser, require_method
from unigen.distributions.pairwise_spins import PairwiseSpins
from unigen.distributions.spin_graph import colour_blocks
from unigen.errors import ArgumentError
from unigen.logprob import Kind, LogProb
from unigen.program import Program


@runtime_checkable
class HasSpins(Protocol):
    """A program with a method `spins()`: binary units with pairwise couplings, such as Ising or a Bernoulli RBM."""

    def spins(self) -> PairwiseSpins:
        """Return its couplings and field."""
        ...


def spins_of(program: Program, hint: str = "AnnealedNormaliser(), an estimate") -> PairwiseSpins:
    """Return the spins of a program, or refuse one that has none.

    Raises:
        UnsupportedQueryError: It has none.
    """
    return require_method(program, HasSpins, "the program is not one of pairwise binary units", hint).spins()


@dataclass(frozen=True, eq=False)
class Beliefs:
    """Approximate means of the spins, and log Z.

    Args:
        mean: E s_i, shape (n,); of an RBM the visible units first, with P(x_i = 1) = (1 + E s_i)/2.
        log_z: In nats, shape (), with its kind.
        iterations: Sweeps until the means stood still.
    """

    mean: Tensor
    log_z: LogProb
    iterations: int


def entropy_of_spins(m: Tensor) -> Tensor:
    """Return H(m) = −Σ_± (1 ± m)/2 log (1 ± m)/2 in nats, elementwise.

    Example:
        >>> round(entropy_of_spins(torch.zeros(1)).item(), 4)
        0.6931
    """
    p, q = (1 + m) / 2, (1 - m) / 2
    return -(torch.xlogy(p, p) + torch.xlogy(q, q))


def elbo_of_spins(model: PairwiseSpins, m: Tensor) -> Tensor:
    """Return L(m) in nats, shape (…) for m (…, n)."""
    return model.log_mass(m) + entropy_of_spins(m).sum(-1)


@final
class NaiveMeanField(Normaliser):
    """log Z ≥ max_m L(m), from several starts, the best of which counts.

    Args:
        steps: Largest number of sweeps.
        tolerance: A sweep that moves no mean by more ends the search.
        starts: Number of starts: no magnetisation, all up, all down, then random ones.

    Raises:
        ArgumentError: A number out of range.

    References:
        Wainwright & Jordan, Graphical models, exponential families, and variational inference, 2008.

    Example:
        >>> import unigen as ug
        >>> NaiveMeanField().log_z(ug.Ising.grid(3, 3, coupling=0.1)).kind
        <Kind.LOWER_BOUND: 'lower bound'>
    """

    kind = Kind.LOWER_BOUND

    def __init__(self, steps: int = 10_000, tolerance: float = 1e-7, starts: int = 8) -> None:
        for name, value in (("steps", steps), ("starts", starts)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(
                    program="NaiveMeanField", site=name, got=value, expected="a positive integer"
                )
        if not tolerance > 0:
            raise ArgumentError(program="NaiveMeanField", site="tolerance", got=tolerance, expected="> 0")
        self.steps, self.tolerance, self.starts = steps, tolerance, starts

    def log_z(self, program: Program) -> LogProb:
        """Return the lower bound of log Z in nats, shape (); true of any m, converged or not.

        Raises:
            UnsupportedQueryError: The program is not one of pairwise binary units.
        """
        return self.solve(program).log_z

    @torch.no_grad()
    def solve(self, program: Program) -> Beliefs:
        """Return the means at the best maximum found, and the bound there."""
        model = spins_of(program)
        blocks = [
            torch.tensor(b, device=model.field.device)
            for b in colour_blocks(model.units, model.edges().tolist())
        ]
        first = torch.tensor([0.0, 0.9, -0.9], dtype=model.field.dtype, device=model.field.device)
        m = 2.0 * torch.rand(self.starts, model.units, dtype=first.dtype, device=first.device) - 1.0
        m[:3] = first[: self.starts, None]
        change, done = math.inf, 0
        while done < self.steps and change > self.tolerance:
            before = m
            for block in blocks:
                inside = (m @ model.couplings[:, block] + model.field[block]).tanh()
                m = m.index_copy(1, block, inside)
            change, done = float((m - before).abs().max()), done + 1
        bound = elbo_of_spins(model, m)
        best = int(bound.argmax())
        return Beliefs(m[best], LogProb(bound[best], Kind.LOWER_BOUND), done)
