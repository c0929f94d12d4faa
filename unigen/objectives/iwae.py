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
from unigen.objectives.baselines import Baseline, LeaveOneOut, check_baseline
from unigen.objectives.held_guide import check_gradient, check_reparameterised, held_guide
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.objectives.score_function import score_term
from unigen.program import Program
from unigen.traces import LogWeights, log_weights


class IWAELoss(ProgramLoss):
    """−L_K in nats an example; holds the program and the baseline."""

    def __init__(self, program: Program, objective: IWAE) -> None:
        super().__init__(program)
        self.samples, self.gradient = objective.samples, objective.gradient
        self.baseline = None if objective.baseline is None else objective.baseline.part(program)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean of −L_K over the batch."""
        program = self.program
        n, latent = x.shape[0], bool(program.structure.latents)
        weights = log_weights(
            functools.partial(program.model, x, context, n),
            functools.partial(program.guide, x, context, n) if latent else None,
            samples=self.samples,
            nesting=program.structure.nesting,
            surrogate=True,
            held=held_guide(program, x, context) if latent and self.gradient else None,
        )
        total = n if program.data_size is None else program.data_size
        log_w, scores, others = weights.local, weights.scores, weights.shared.mean() / n
        if weights.shared_latents:  # one weight of the whole minibatch, as if it were a single example
            log_w = (log_w.sum(1) * (total / n) + weights.shared)[:, None]
            scores = None if scores is None else scores.sum(1, keepdim=True)
            others = torch.zeros_like(others)
        self._double(weights, log_w)
        bound = (torch.logsumexp(log_w, 0) - math.log(self.samples))[None]
        value = bound.mean() + self._score_term(bound, log_w, scores, x, context)
        return -(value / total if weights.shared_latents else value + others)

    def _double(self, weights: LogWeights, log_w: Tensor) -> None:
        """Let the gradient of the k-th draw, w̃_k ∂log w_k/∂z_k so far, be multiplied by w̃_k = w_k / Σ_l w_l again."""
        if self.gradient != "dreg" or self.samples == 1 or not torch.is_grad_enabled():
            return
        share = log_w.detach().softmax(0)
        k, inner = self.samples, self.program.structure.nesting - 1
        for z in weights.draws.values():
            ones = (1,) * (z.dim() - inner - 2)
            factor = share.reshape(k, *(1,) * inner, share.shape[1], *ones)
            z.register_hook(functools.partial(torch.mul, factor))

    def _score_term(
        self, bound: Tensor, log_w: Tensor, scores: Tensor | None, x: Tensor, context: Tensor | None
    ) -> Tensor | float:
        """Return a term of value zero with the gradient through draws that carry none, and that of the baseline."""
        if scores is None:
            return 0.0
        if self.baseline is None:
            return score_term(bound, scores).sum(0).mean()
        b, training = self.baseline(bound.detach(), log_w.detach(), x, context)
        return score_term(bound, scores, b).sum(0).mean() - training


class IWAE(Objective):
    """Maximise the importance-weighted bound with K samples an example.

    Args:
        samples: K; K = 1 is the ELBO with a Monte Carlo KL.
        gradient: None for the whole gradient of the sampled bound. ``"dreg"``: the guide's gradient is the doubly
            reparameterised one, Σ_k w̃_k² ∂log w_k/∂z_k ∂z_k/∂φ, unbiased, with a signal-to-noise ratio that does not
            fall as K grows; the model's stays as it is. ``"stl"``: w̃_k in place of w̃_k², biased for K > 1.
        baseline: What centres the reward of the score function, for a discrete z: ``LeaveOneOut()`` (VIMCO),
            ``LearnedBaseline()``, or None.

    Raises:
        ArgumentError: An option out of its range.
        SiteError: From ``players``: ``gradient`` and a guide whose draws carry no gradient.

    References:
        Burda, Grosse & Salakhutdinov, Importance weighted autoencoders, 2016; Tucker et al., Doubly reparameterized
        gradient estimators for Monte Carlo objectives, 2019; Roeder, Wu & Duvenaud 2017.
    """

    def __init__(
        self, samples: int = 5, *, gradient: str | None = None, baseline: Baseline | None = LeaveOneOut()
    ) -> None:
        if samples < 1:
            raise ArgumentError(site="samples", got=samples, expected="≥ 1")
        check_gradient(gradient, ("dreg", "stl"))
        check_baseline(baseline)
        self.samples, self.gradient, self.baseline = samples, gradient, baseline

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains model and guide together."""
        check_reparameterised(program, self.gradient)
        return [IWAELoss(program, self).player("iwae", measure=program.kind.normalised)]
