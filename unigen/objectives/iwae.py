"""The importance-weighted bound, example by example.

    L_K(x_i) = E[ log 1/K Σ_k w_ki ],   w_ki = p(x_i, z_ki) / q(z_ki | x_i),    L_1 ≤ L_K ≤ log p(x_i).

A latent outside the plate couples the examples of a minibatch; the particles then weigh the minibatch as a
whole, log 1/K Σ_k w_k^shared Π_i w_ki, which bounds the joint log-probability.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.objectives.score_function import score_term
from unigen.program import Program
from unigen.traces import log_weights


class IWAELoss(ProgramLoss):
    """−L_K in nats an example; holds the program."""

    def __init__(self, program: Program, samples: int) -> None:
        super().__init__(program)
        self.samples = samples

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean of −L_K over the batch."""
        program = self.program
        n = x.shape[0]
        weights = log_weights(
            functools.partial(program.model, x, context, n),
            functools.partial(program.guide, x, context, n) if program.structure.latents else None,
            samples=self.samples,
            nesting=program.structure.nesting,
            surrogate=True,
        )
        if weights.shared_latents:
            total = n if program.data_size is None else program.data_size
            joint = weights.local.sum(1) * (total / n) + weights.shared
            bound = (torch.logsumexp(joint, 0) - math.log(self.samples)).reshape(1, 1)
            scores = None if weights.scores is None else weights.scores.sum().reshape(1, 1)
            return -(bound + score_term(bound, scores)).sum() / total
        each = (torch.logsumexp(weights.local, 0) - math.log(self.samples))[None]
        scores = None if weights.scores is None else weights.scores.sum(0, keepdim=True)
        return -(each + score_term(each, scores)).mean() - weights.shared.mean() / n


class IWAE(Objective):
    """Maximise the importance-weighted bound with K samples an example.

    Args:
        samples: K; K = 1 is the ELBO with a Monte Carlo KL.

    References:
        Burda, Grosse & Salakhutdinov, Importance weighted autoencoders, 2016.
    """

    def __init__(self, samples: int = 5) -> None:
        if samples < 1:
            raise ArgumentError(site="samples", got=samples, expected="≥ 1")
        self.samples = samples

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains model and guide together."""
        return [IWAELoss(program, self.samples).player("iwae", measure=program.kind.normalised)]
