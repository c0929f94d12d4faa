"""The Ising model on any graph.

    p(x) ∝ exp(Σ_(i,j) J_ij x_i x_j + Σ_i θ_i x_i),    x ∈ {−1, 1}^D,  (i, j) the edges of the graph

Notation: x (N, D), J one number an edge (E,), θ (D,). With couplings of either sign it is a Boltzmann machine without
hidden units.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import pyro
import torch
from torch import Tensor, nn

from unigen.densities.density import Density
from unigen.densities.unnormalised import Unnormalised
from unigen.distributions.energy import EnergyDistribution
from unigen.distributions.finite_states import FiniteStates
from unigen.distributions.pairwise_spins import PairwiseSpins, check_couplings
from unigen.distributions.spin_gibbs import SpinPath, spins, sweep_spins
from unigen.distributions.spin_graph import check_edges, colour_blocks, grid_edges
from unigen.nn.replay import ReplayBuffer
from unigen.objectives.gibbs_contrast import GibbsContrastiveDivergence, PersistentChains
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe
from unigen.samplers.gibbs import Gibbs
from unigen.samplers.sampler import Sampler


class Ising(PersistentChains, Program):
    """p(x) ∝ exp(Σ J_ij x_i x_j + Σ θ_i x_i), x = ±1, trained and drawn by block Gibbs over the colours of its graph.

    ``log_prob`` is unnormalised; ``density=Normalised(…)`` makes it exact (by ``Enumeration``, up to 20 spins, or on
    trees by ``BeliefPropagation``), an estimate (``AnnealedNormaliser``) or an upper bound (``NaiveMeanField``).

    Args:
        features: D.
        edges: Pairs (i, j) with a coupling; all pairs if omitted. ``grid`` and ``from_couplings`` set them.
        coupling: First value of every J.
        field: First value of every θ.
        chains: Number of persistent chains.
        objective: What ``fit`` minimises by default.
        sampler: How draws are made.
        density: How ``log_prob`` is computed by default.

    Raises:
        ArgumentError: D < 1, or a pair that is no edge.

    References:
        Ising 1925; Ackley, Hinton & Sejnowski, A learning algorithm for Boltzmann machines, 1985.

    Example:
        >>> Ising.grid(3, 3, coupling=0.6).sample(2).shape
        torch.Size([2, 9])
    """

    recipe: ClassVar[Recipe] = Recipe(steps=3000, lr=1e-2, schedule=Cosine(final=0.01))
    pairs: Tensor
    order: Tensor

    def __init__(
        self,
        features: int,
        edges: Sequence[Sequence[int]] | None = None,
        *,
        coupling: float = 0.0,
        field: float = 0.0,
        chains: int = 100,
        objective: Objective = GibbsContrastiveDivergence(steps=5),
        sampler: Sampler = Gibbs(steps=500),
        density: Density = Unnormalised(),
    ) -> None:
        pairs = check_edges(features, edges)
        super().__init__((features,), objective=objective, sampler=sampler, density=density)
        self.coupling = nn.Parameter(torch.full((len(pairs),), float(coupling)))
        self.field = nn.Parameter(torch.full((features,), float(field)))
        blocks = colour_blocks(features, pairs)
        self.sizes = [len(block) for block in blocks]
        self.register_buffer("pairs", torch.tensor(pairs, dtype=torch.long).reshape(-1, 2))
        self.register_buffer("order", torch.tensor(list(itertools.chain(*blocks))))
        self.chains = ReplayBuffer(chains, (features,))
        self.chains.put(2.0 * torch.randint(2, (chains, features)) - 1.0)

    @classmethod
    def grid(cls, rows: int, columns: int, *, periodic: bool = False, **options: Any) -> Ising:
        """Return the model on a grid, x row by row, each spin joined to its neighbours."""
        return cls(rows * columns, grid_edges(rows, columns, periodic), **options)

    @classmethod
    def from_couplings(cls, couplings: Tensor, field: Tensor | None = None, **options: Any) -> Ising:
        """Return the model with couplings J (D, D), symmetric, zero on the diagonal, and field θ (D,), zero if omitted.

        Raises:
            ShapeError, NonFiniteError, ArgumentError: They make no model.
        """
        theta = couplings.new_zeros(couplings.shape[:1]) if field is None else field
        check_couplings(couplings, theta, "Ising")
        pairs = couplings.triu(1).nonzero()
        program = cls(couplings.shape[0], pairs.tolist(), **options).to(couplings.dtype)
        with torch.no_grad():
            program.coupling.copy_(couplings[pairs[:, 0], pairs[:, 1]])
            program.field.copy_(theta)
        return program

    @property
    def couplings(self) -> Tensor:
        """J (D, D), symmetric, zero where there is no edge."""
        d = self.field.shape[0]
        upper = self.coupling.new_zeros(d, d).index_put(self.pairs.unbind(1), self.coupling)
        return upper + upper.mT

    @property
    def blocks(self) -> tuple[Tensor, ...]:
        """Indices of the spins of each colour."""
        return self.order.split(self.sizes)

    def potential(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return E(x) in nats, shape (…) for x (…, D)."""
        return -0.5 * ((x @ self.couplings) * x).sum(-1) - x @ self.field

    def _draws(self, shape: torch.Size) -> Tensor:
        return self.draw(shape.numel()).reshape(*shape, *self.event_shape)

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x), unnormalised."""
        with self.plate(x, n):
            p = EnergyDistribution(self.potential, self.event_shape, self._draws, support=spins, name="Ising")
            return pyro.sample("x", p, obs=x)

    def sweep(self, x: Tensor) -> Tensor:
        """Return x after one sweep of block Gibbs over the colours of the graph."""
        return sweep_spins(x, self.couplings.detach(), self.field.detach(), self.blocks)

    def states(self) -> FiniteStates:
        """Return all 2^D states with their masses, to be enumerated."""
        d, like = self.field.shape[0], self.field.detach()
        return FiniteStates(d, lambda x: -self.potential(x), lambda x: x, like, -1.0, "Ising")

    def spins(self) -> PairwiseSpins:
        """Return couplings and field, for mean field and belief propagation."""
        return PairwiseSpins(self.couplings.detach(), self.field.detach())

    def path(self) -> SpinPath:
        """Return the annealing path from independent spins, for ``AnnealedNormaliser``."""
        return SpinPath(self.spins(), self.blocks)
