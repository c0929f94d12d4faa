"""The evidence lower bound.

    ELBO(x) = E_q(z|x)[ log p(x | z) ] − β KL( q(z | x) ‖ p(z) )  ≤  log p(x)    for β = 1,

the KL in closed form where torch knows it and the site orders allow it, by Monte Carlo elsewhere.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.objectives.score_function import score_term
from unigen.program import Program
from unigen.traces import log_weights


class ELBOLoss(ProgramLoss):
    """−ELBO in nats an example; holds the program.

    Args:
        program: What is trained.
        samples: Monte Carlo samples of z.
        analytic: Use closed-form KL where known.
        beta: Weight of all terms but the observed site's; 1 gives the bound.
    """

    def __init__(self, program: Program, samples: int, analytic: bool, beta: float) -> None:
        super().__init__(program)
        self.samples, self.analytic, self.beta = samples, analytic, beta

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean of −ELBO over the batch."""
        program = self.program
        n = x.shape[0]
        weights = log_weights(
            functools.partial(program.model, x, context, n),
            functools.partial(program.guide, x, context, n) if program.structure.latents else None,
            samples=self.samples,
            nesting=program.structure.nesting,
            analytic=self.analytic,
            surrogate=True,
        )
        each = weights.local
        if self.beta != 1.0:
            reconstruction = weights.parts[program.observed]
            each = reconstruction + self.beta * (each - reconstruction)
        value = each.mean() + score_term(each, weights.scores).mean()
        if program.structure.shared:
            total = n if program.data_size is None else program.data_size
            value = value + weights.shared.mean() / total
        return -value


class ELBO(Objective):
    """Maximise the evidence lower bound, in nats an example.

    Args:
        samples: Monte Carlo samples of z an example.
        analytic: Use closed-form KL terms where torch has them.
        beta: β of the β-VAE (Higgins et al. 2017); the value is a bound on log p(x) for β ≥ 1 only.

    References:
        Jordan et al. 1999; Kingma & Welling 2014.
    """

    def __init__(self, samples: int = 1, *, analytic: bool = True, beta: float = 1.0) -> None:
        if samples < 1:
            raise ArgumentError(site="samples", got=samples, expected="≥ 1")
        if beta < 0:
            raise ArgumentError(site="beta", got=beta, expected="≥ 0")
        self.samples, self.analytic, self.beta = samples, analytic, beta

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains model and guide together."""
        return [
            ELBOLoss(program, self.samples, self.analytic, self.beta).player(
                "elbo", measure=program.kind.normalised
            )
        ]


def elbo(program: Program, x: Tensor, context: Tensor | None = None, samples: int = 1) -> Tensor:
    """Return the ELBO of each example in nats, shape (N,), averaged over ``samples`` draws of z."""
    n = x.shape[0]
    with torch.no_grad():
        weights = log_weights(
            functools.partial(program.model, x, context, n),
            functools.partial(program.guide, x, context, n) if program.structure.latents else None,
            samples=samples,
            nesting=program.structure.nesting,
            analytic=True,
        )
    return weights.local.mean(0) + weights.shared.mean() / n
