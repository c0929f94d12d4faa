"""The evidence lower bound.

    ELBO(x) = E_q(z|x)[ log p(x | z) ] − β KL( q(z | x) ‖ p(z) )  ≤  log p(x)    for β = 1,

the KL in closed form where torch knows it and the site orders allow it, by Monte Carlo elsewhere. The gradient
through draws of a discrete z is that of the score function, or z is summed out (``enumerate``).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.objectives.enumeration import discrete_sites, enumerated_weights
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.objectives.score_function import score_term
from unigen.program import Program
from unigen.traces import LogWeights, log_weights


class ELBOLoss(ProgramLoss):
    """−ELBO in nats an example; holds the program.

    Args:
        program: What is trained.
        samples: Monte Carlo samples of z.
        analytic: Use closed-form KL where known.
        beta: Weight of all terms but the observed site's; 1 gives the bound.
        enumerate: Sum discrete latents out.
    """

    def __init__(
        self, program: Program, samples: int, analytic: bool, beta: float, enumerate: bool = False
    ) -> None:
        super().__init__(program)
        self.samples, self.analytic, self.beta = samples, analytic, beta
        self.sizes = discrete_sites(program) if enumerate and program.structure.latents else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean of −ELBO over the batch."""
        program = self.program
        n = x.shape[0]
        if self.sizes is None:
            weights = log_weights(
                functools.partial(program.model, x, context, n),
                functools.partial(program.guide, x, context, n) if program.structure.latents else None,
                samples=self.samples,
                nesting=program.structure.nesting,
                analytic=self.analytic,
                surrogate=True,
            )
            each = self._weighted(weights)
            value = each.mean() + score_term(each, weights.scores).mean()
        else:
            options = {"samples": self.samples, "analytic": self.analytic, "surrogate": True}
            enumerated = enumerated_weights(program, x, context, self.sizes, **options)
            weights = enumerated.weights
            value = enumerated.mean(self._weighted(weights)).mean()
        if program.structure.shared:
            total = n if program.data_size is None else program.data_size
            value = value + weights.shared.mean() / total
        return -value

    def _weighted(self, weights: LogWeights) -> Tensor:
        """Return log w with all terms but the observed site's times β, shape (K, N)."""
        if self.beta == 1.0:
            return weights.local
        reconstruction = weights.parts[self.program.observed]
        return reconstruction + self.beta * (weights.local - reconstruction)


class ELBO(Objective):
    """Maximise the evidence lower bound, in nats an example.

    Args:
        samples: Monte Carlo samples of z an example (of the continuous latents for every value of the discrete ones,
            where those are enumerated).
        analytic: Use closed-form KL terms where torch has them.
        beta: β of the β-VAE (Higgins et al. 2017); the value is a bound on log p(x) for β ≥ 1 only.
        enumerate: Sum over all values of the discrete latents, weighted by q: exact, and at the cost of one particle a
            joint value. Otherwise they are drawn, and the gradient is that of the score function.

    Raises:
        SiteError: From ``players``: ``enumerate`` and a discrete latent of too many values or in another plate.

    References:
        Jordan et al. 1999; Kingma & Welling 2014.

    Example:
        >>> from unigen.models.mixture import GaussianMixture
        >>> mixture, x = GaussianMixture(features=2, components=3), torch.zeros(4, 2)
        >>> loss = ELBO(enumerate=True).players(mixture)[0].loss(x)
        >>> torch.allclose(-loss, mixture.log_prob(x).value.mean(), atol=1e-5)  # exact responsibilities
        True
    """

    def __init__(
        self, samples: int = 1, *, analytic: bool = True, beta: float = 1.0, enumerate: bool = False
    ) -> None:
        if samples < 1:
            raise ArgumentError(site="samples", got=samples, expected="≥ 1")
        if beta < 0:
            raise ArgumentError(site="beta", got=beta, expected="≥ 0")
        self.samples, self.analytic, self.beta, self.enumerate = samples, analytic, beta, enumerate

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains model and guide together."""
        loss = ELBOLoss(program, self.samples, self.analytic, self.beta, self.enumerate)
        return [loss.player("elbo", measure=program.kind.normalised)]


def elbo(
    program: Program, x: Tensor, context: Tensor | None = None, samples: int = 1, *, enumerate: bool = False
) -> Tensor:
    """Return the ELBO of each example in nats, shape (N,), averaged over ``samples`` draws of z.

    With ``enumerate`` discrete latents are summed out, and ``samples`` counts draws of the others.
    """
    n = x.shape[0]
    if enumerate and program.structure.latents:
        with torch.no_grad():
            sizes = discrete_sites(program)
            result = enumerated_weights(program, x, context, sizes, samples=samples, analytic=True)
            return result.mean(result.weights.local) + result.weights.shared.mean() / n
    with torch.no_grad():
        weights = log_weights(
            functools.partial(program.model, x, context, n),
            functools.partial(program.guide, x, context, n) if program.structure.latents else None,
            samples=samples,
            nesting=program.structure.nesting,
            analytic=True,
        )
    return weights.local.mean(0) + weights.shared.mean() / n
