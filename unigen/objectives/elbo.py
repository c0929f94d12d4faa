"""The evidence lower bound, and its relatives with other weights.

    ELBO(x) = E_q(z|x)[ log p(x | z) ] − β KL( q(z | x) ‖ p(z) )  ≤  log p(x)    for β = 1,

the KL in closed form where torch knows it and the site orders allow it, by Monte Carlo elsewhere. The gradient
through draws of a discrete z is that of the score function, or z is summed out (``enumerate``).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.objectives.annealing import Annealing, check_beta
from unigen.objectives.baselines import Baseline, LeaveOneOut, check_baseline
from unigen.objectives.enumeration import discrete_sites, enumerated_weights
from unigen.objectives.free_bits import Average, FreeBits, as_free_bits
from unigen.objectives.held_guide import check_gradient, check_reparameterised, held_guide
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.objectives.score_function import score_term
from unigen.program import Program
from unigen.traces import LogWeights, log_weights


class ELBOLoss(ProgramLoss):
    """The negative of an ``ELBO`` objective in nats an example; holds the program and the baseline, counts its steps.

    In training mode β is that of the present step, and every evaluation counts as one step; in evaluation mode it is
    the final one. ``step`` is the number of steps taken.

    Args:
        program: What is trained.
        objective: The options.
    """

    step: Tensor

    def __init__(self, program: Program, objective: ELBO) -> None:
        super().__init__(program)
        self.samples, self.beta, self.gradient = objective.samples, objective.beta, objective.gradient
        self.free = as_free_bits(objective.free_bits)
        self.analytic = objective.analytic and objective.gradient is None
        enumerated = objective.enumerate and program.structure.latents
        self.sizes = discrete_sites(program) if enumerated else None
        self.baseline = None if objective.baseline is None else objective.baseline.part(program)
        if isinstance(objective.beta, Annealing):
            self.register_buffer("step", torch.zeros(1, dtype=torch.int64))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean of the negative objective over the batch."""
        program = self.program
        n = x.shape[0]
        options = {
            "samples": self.samples,
            "analytic": self.analytic,
            "surrogate": True,
            "entrywise": self.free is not None,
        }
        beta = self._beta()
        if self.sizes is not None:
            enumerated = enumerated_weights(program, x, context, self.sizes, **options)
            weights = enumerated.weights
            value = enumerated.mean(self._weighted(weights, beta, enumerated.mean)).mean()
        else:
            held = held_guide(program, x, context) if self.gradient else None
            weights = log_weights(
                functools.partial(program.model, x, context, n),
                functools.partial(program.guide, x, context, n) if program.structure.latents else None,
                nesting=program.structure.nesting,
                held=held if program.structure.latents else None,
                **options,
            )
            each = self._weighted(weights, beta, _mean)
            value = each.mean() + self._score_term(each, weights.scores, x, context)
        if program.structure.shared:
            total = n if program.data_size is None else program.data_size
            value = value + weights.shared.mean() / total
        return -value

    def _beta(self) -> Tensor | float:
        """Return β of this evaluation, and count it."""
        if not isinstance(self.beta, Annealing):
            return self.beta
        if not self.training:
            return self.beta.final
        now = self.beta(self.step[0].clone())
        self.step.add_(1)
        return now.to(self.program.dtype)

    def _weighted(self, weights: LogWeights, beta: Tensor | float, average: Average) -> Tensor:
        """Return log w with free bits, and all terms but the observed site's times β, shape (K, N)."""
        each = weights.local
        if self.free is not None:
            each = each + self.free.correction(weights.entries, average)
        if isinstance(beta, float) and beta == 1.0:
            return each
        reconstruction = weights.parts[self.program.observed]
        return reconstruction + beta * (each - reconstruction)

    def _score_term(
        self, each: Tensor, scores: Tensor | None, x: Tensor, context: Tensor | None
    ) -> Tensor | float:
        """Return a term of value zero with the gradient through draws that carry none, and that of the baseline."""
        if scores is None:
            return 0.0
        if self.baseline is None:
            return score_term(each, scores).mean()
        b, training = self.baseline(each.detach(), None, x, context)
        return score_term(each, scores, b).mean() - training


def _mean(each: Tensor) -> Tensor:
    return each.mean(-2)


class ELBO(Objective):
    """Maximise the evidence lower bound, in nats an example, or a bound with other weights.

    Args:
        samples: Monte Carlo samples of z an example (of the continuous latents for every value of the discrete ones,
            where those are enumerated).
        analytic: Use closed-form KL terms where torch has them.
        beta: β of the β-VAE (Higgins et al. 2017): a number, or a schedule, ``LinearWarmup(steps)`` or
            ``Cyclical(period)``. The value is a bound on log p(x) for β ≥ 1 only.
        enumerate: Sum over all values of the discrete latents, weighted by q: exact, and at the cost of one particle a
            joint value. Otherwise they are drawn, and the gradient is that of the score function.
        free_bits: λ nats of KL that each entry of a latent may have at no cost; ``FreeBits(λ, groups)`` for groups of
            entries. The value lies below the ELBO by what is given away.
        gradient: None for the whole gradient of the sampled bound, ``"stl"`` for that through the draws alone (sticking
            the landing): unbiased, and without variance where q is the posterior. The KL is then sampled, never
            analytic.
        baseline: What centres the reward of the score function: ``LeaveOneOut()``, ``LearnedBaseline()``, or None.

    Raises:
        ArgumentError: An option out of its range, or ``enumerate`` together with ``gradient``.
        SiteError: From ``players``: ``enumerate`` and a discrete latent of too many values or in another plate;
            ``gradient="stl"`` and a guide whose draws carry no gradient.

    References:
        Jordan et al. 1999; Kingma & Welling 2014; Roeder, Wu & Duvenaud, Sticking the landing, 2017;
        Kingma et al. 2016.

    Example:
        >>> from unigen.models.mixture import GaussianMixture
        >>> mixture, x = GaussianMixture(features=2, components=3), torch.zeros(4, 2)
        >>> loss = ELBO(enumerate=True).players(mixture)[0].loss(x)
        >>> torch.allclose(-loss, mixture.log_prob(x).value.mean(), atol=1e-5)  # exact responsibilities
        True
    """

    def __init__(
        self,
        samples: int = 1,
        *,
        analytic: bool = True,
        beta: float | Annealing = 1.0,
        enumerate: bool = False,
        free_bits: float | FreeBits = 0.0,
        gradient: str | None = None,
        baseline: Baseline | None = LeaveOneOut(),
    ) -> None:
        if samples < 1:
            raise ArgumentError(site="samples", got=samples, expected="≥ 1")
        check_beta(beta)
        as_free_bits(free_bits)
        check_gradient(gradient, ("stl",))
        check_baseline(baseline)
        if enumerate and gradient is not None:
            raise ArgumentError("enumerate and gradient exclude one another", hint="gradient=None")
        self.samples, self.analytic, self.beta, self.enumerate = samples, analytic, beta, enumerate
        self.free_bits, self.gradient, self.baseline = free_bits, gradient, baseline

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains model and guide together; it is named ``elbo`` where it is one."""
        check_reparameterised(program, self.gradient)
        bound = (
            not isinstance(self.beta, Annealing) and self.beta == 1 and as_free_bits(self.free_bits) is None
        )
        name = "elbo" if bound else "weighted elbo"
        return [ELBOLoss(program, self).player(name, measure=program.kind.normalised)]


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
