"""Pseudo-likelihood: each binary feature predicted from all others, which needs no normaliser.

−Σ_i log p(x_i | x_−i),    log p(x_i | x_−i) = log σ(E(x with i flipped) − E(x))
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from unigen.distributions.spin_gibbs import spins
from unigen.errors import ArgumentError, NoDensityError
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.program import Program


class PseudoLikelihoodLoss(ProgramLoss):
    """−Σ_i log p(x_i | x_−i) in nats an example, averaged over the batch.

    Args:
        program: What is trained.
        options: The objective.
        total: The two values of a feature added up: x_i flipped is total − x_i.
    """

    def __init__(self, program: Program, options: PseudoLikelihood, total: float) -> None:
        super().__init__(program)
        self.options, self.total = options, total

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean over the batch; with ``features`` an unbiased estimate of it."""
        d, k = self.program.event_shape.numel(), self.options.features
        rows = torch.arange(d, device=x.device) if k is None else torch.randperm(d, device=x.device)[:k]
        mask = torch.nn.functional.one_hot(rows, d).to(x.dtype)  # (k, D)
        flipped = x[:, None] + mask * (self.total - 2.0 * x[:, None])
        here, there = (self.program.density_of(at, context).value for at in (x, flipped))
        return -logsigmoid(here[:, None] - there).sum(-1).mean() * (1.0 if k is None else d / k)


@final
class PseudoLikelihood(Objective):
    """Maximum pseudo-likelihood, for programs of binary features (RBM, Ising): consistent, and no chains to run.

    Args:
        features: Number of features, drawn anew at each step, that are predicted; all if omitted.

    Raises:
        ArgumentError: features < 1.

    References:
        Besag, Statistical analysis of non-lattice data, 1975; Hyvärinen 2006.

    Example:
        >>> import unigen as ug
        >>> ising = ug.Ising(3, objective=PseudoLikelihood())
        >>> ug.fit(ising, torch.ones(8, 3), steps=2, progress=False).steps
        2
    """

    def __init__(self, features: int | None = None) -> None:
        if features is not None and (
            isinstance(features, bool) or not isinstance(features, int) or features < 1
        ):
            raise ArgumentError(
                program="PseudoLikelihood", site="features", got=features, expected="a positive integer"
            )
        self.features = features

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the whole program.

        Raises:
            NoDensityError: x is not one row of binary features, or the program has no energy.
            ArgumentError: More features than the program has.
        """
        base = program.support
        while isinstance(base, constraints.independent):
            base = base.base_constraint
        totals = {constraints.boolean: 1.0, spins: 0.0}
        if base not in totals or not hasattr(program, "potential") or len(program.event_shape) != 1:
            raise NoDensityError(
                "pseudo-likelihood needs an energy of binary features",
                program=program.name,
                got=f"support {program.support}",
                expected="an RBM with Bernoulli units, or Ising",
                hint="objective=ContrastiveDivergence() for a continuous x",
            )
        d = program.event_shape.numel()
        if self.features is not None and self.features > d:
            raise ArgumentError(
                program="PseudoLikelihood", site="features", got=self.features, expected=f"at most {d}"
            )
        loss = PseudoLikelihoodLoss(program, self, totals[base])
        return [loss.player("pseudo-likelihood", measure=self.features is None)]
