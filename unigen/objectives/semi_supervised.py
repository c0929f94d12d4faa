"""Training on partly labelled rows: the bound of labelled and unlabelled rows, and a classification term.

    minimise −1/N Σ_i [ bound(x_i, l_i) + α 1{l_i given} log q(l_i | x_i) ]

The bound sums every class out of an unlabelled row. A given label is not left to q in it: without the second term q
learns from unlabelled rows alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unigen.distributions.with_label import average
from unigen.errors import ArgumentError
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.program import Program


class SemiSupervisedLoss(ProgramLoss):
    """The negative bound with the classification term, in nats an example.

    Args:
        program: A program of rows of features and a label.
        alpha: α.
    """

    def __init__(self, program: Program, alpha: float) -> None:
        super().__init__(program)
        self.alpha = alpha

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean over the batch."""
        program: Any = self.program
        joint = program.joint(x, surrogate=True)
        bound = average(program.log_posterior(x, joint), joint)
        label = x[:, -1]
        free = torch.full_like(label, torch.nan)[:, None]
        log_q = program.log_posterior(torch.cat((x[:, :-1], free), 1), joint)
        chosen = log_q.gather(1, label.nan_to_num(0.0).long()[:, None])[:, 0]
        return -(bound + self.alpha * torch.where(label.isnan(), 0.0, chosen)).mean()


class SemiSupervised(Objective):
    """Maximise the bound of partly labelled rows and α times the log-probability of the labels that are given.

    Args:
        alpha: α, the weight of one label beside the bound of one example; Kingma et al. take 0.1 N / (number of
            labels), which is little where labels are not rare.

    Raises:
        ArgumentError: α < 0; from ``players``, a program without labels.

    References:
        Kingma, Rezende, Mohamed & Welling, Semi-supervised learning with deep generative models, NeurIPS 2014.
    """

    def __init__(self, alpha: float = 50.0) -> None:
        if not alpha >= 0:
            raise ArgumentError(site="alpha", got=alpha, expected="≥ 0")
        self.alpha = alpha

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the whole program."""
        if not hasattr(program, "log_posterior"):
            raise ArgumentError(
                "the program has no labels", program=program.name, hint="Labelled(program), or ELBO()"
            )
        return [SemiSupervisedLoss(program, self.alpha).player("bound")]
