"""Contrastive divergence with block Gibbs: raise the mass of data, lower that of draws a few sweeps away.

    ∇ log p(x) = ∇ log p*(x) − E_{y ~ p} ∇ log p*(y)

The expectation is estimated with y after k sweeps, started at the data (CD-k: biased, towards modes near the data) or
where the last step's chains ended (PCD: the bias vanishes as the learning rate falls).

The loss mean log p*(y) − mean log p*(x) has this gradient; its value is no likelihood.
"""

from __future__ import annotations

from typing import Any, Protocol, final, runtime_checkable

import torch
from torch import Tensor

from unigen.errors import ArgumentError, NoDensityError
from unigen.nn.replay import ReplayBuffer
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.program import Program


@runtime_checkable
class HasBlocks(Protocol):
    """A program with an energy, block Gibbs sweeps and persistent chains of its own."""

    chains: ReplayBuffer

    def potential(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return E(x) in nats, shape (N,)."""
        ...

    def sweep(self, x: Tensor) -> Tensor:
        """Return x after one sweep that leaves p(x) invariant."""
        ...


def negatives(program: HasBlocks, x: Tensor, steps: int, persistent: bool, training: bool) -> Tensor:
    """Return the ends of the chains, shape (M, *event); persistent chains move on when training."""
    with torch.no_grad():
        y = program.chains.take(x)[0] if persistent else x
        for _ in range(steps):
            y = program.sweep(y)
        if persistent and training:
            program.chains.put(y)
    return y


class PersistentChains:
    """What programs with persistent Gibbs chains share: a stand-in for log p(x) to train by, and starts for draws."""

    chains: ReplayBuffer

    def surrogate(self: Any, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return −E(x) + mean E(y), shape (N,), y the persistent chains, moved on by a sweep when training."""
        y = negatives(self, x, 1, persistent=True, training=self.training)
        return -self.potential(x) + self.potential(y).mean()

    def start(self, n: int, context: Tensor | None = None) -> Tensor:
        """Return n of the persistent chains' states, shape (n, D): where draws start."""
        return self.chains.pick(n)


class GibbsLoss(ProgramLoss):
    """mean E(x) − mean E(y) in nats, y the ends of the chains, plus a penalty on the weights.

    Args:
        program: What is trained.
        options: The objective.
    """

    def __init__(self, program: Program, options: GibbsContrastiveDivergence) -> None:
        super().__init__(program)
        self.options = options

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return a scalar whose gradient is that of −log p(x), as far as y ~ p."""
        options, program = self.options, self.program
        assert isinstance(program, HasBlocks)
        y = negatives(program, x, options.steps, options.persistent, self.training)
        loss = program.potential(x).mean() - program.potential(y).mean()
        if options.weight_decay:
            loss = loss + options.weight_decay * sum(
                p.square().sum() for p in self.program.parameters() if p.dim() > 1
            )
        return loss


@final
class GibbsContrastiveDivergence(Objective):
    """CD-k and PCD with block Gibbs negatives, for programs that give their conditionals (RBM, Ising).

    Args:
        steps: k, sweeps for each optimiser step.
        persistent: Keep the program's chains between steps (PCD); otherwise they start at the data (CD-k).
        weight_decay: α of the penalty α Σ W² on parameters that are matrices.

    Raises:
        ArgumentError: steps < 1 or weight_decay < 0.

    References:
        Hinton, Training products of experts by minimizing contrastive divergence, 2002; Tieleman, Training restricted
        Boltzmann machines using approximations to the likelihood gradient, 2008.

    Example:
        >>> import unigen as ug
        >>> rbm = ug.RBM(features=4, hidden=2, objective=GibbsContrastiveDivergence(steps=2))
        >>> ug.fit(rbm, torch.ones(8, 4), steps=2, progress=False).steps
        2
    """

    def __init__(self, steps: int = 1, *, persistent: bool = True, weight_decay: float = 0.0) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ArgumentError(
                program="GibbsContrastiveDivergence", site="steps", got=steps, expected="a positive integer"
            )
        if not weight_decay >= 0:
            raise ArgumentError(
                program="GibbsContrastiveDivergence", site="weight_decay", got=weight_decay, expected="≥ 0"
            )
        self.steps, self.persistent, self.weight_decay = steps, persistent, weight_decay

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the whole program.

        Raises:
            NoDensityError: The program gives no conditionals.
        """
        if not isinstance(program, HasBlocks):
            raise NoDensityError(
                "block Gibbs needs the conditionals of the program",
                program=program.name,
                expected="`potential(x)`, `sweep(x)` and `chains`, as an RBM has",
                hint="objective=ContrastiveDivergence() for a continuous x",
            )
        return [GibbsLoss(program, self).player("contrastive", measure=False)]
