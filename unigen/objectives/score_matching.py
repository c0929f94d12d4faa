"""Score matching: the model's score compared with that of the data, which need not be known.

    J = E_x [½ ‖s(x)‖² + ∇·s(x)] = ½ E ‖s − ∇log p_data‖² − ½ E ‖∇log p_data‖²        (integration by parts)

so that no normaliser enters, and the least value is −½ of the data's Fisher information.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.objectives.score_of import check_score, note_noise, score_of, slope_of
from unigen.program import Program


class ScoreMatchingLoss(ProgramLoss):
    """½ ‖s‖² + ∇·s, averaged over the batch; the divergence by one backward pass a dimension.

    Args:
        program: What is trained.
    """

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        note_noise(program, 0.0)

    def terms(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ½ ‖s(x_i)‖² + ∇·s(x_i), shape (N,)."""
        x, s = score_of(self.program, x, context)
        flat, divergence = s.flatten(1), torch.zeros_like(s.flatten(1)[:, 0])
        for d in range(flat.shape[1]):
            divergence = divergence + slope_of(flat[:, d], x).flatten(1)[:, d]
        return 0.5 * flat.square().sum(1) + divergence

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean over the batch, a scalar."""
        return self.terms(x, context).mean()


@final
class ScoreMatching(Objective):
    """Implicit score matching with the exact divergence, for any program that has a density or an energy.

    It costs D + 2 backward passes a step; ``SlicedScoreMatching`` costs a few, whatever D. The energy must be smooth:
    of piecewise linear networks the divergence is zero.

    References:
        Hyvärinen, Estimation of non-normalized statistical models by score matching, JMLR 2005.

    Example:
        >>> import unigen as ug
        >>> model = ug.EnergyModel(2, energy=ug.Tilt(2, hidden=(8,)), objective=ScoreMatching())
        >>> ug.fit(model, torch.randn(32, 2), steps=2, progress=False).steps
        2
    """

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the whole program.

        Raises:
            NoDensityError: The program has no score of its own on the reals.
        """
        check_score(program, "score matching")
        return [ScoreMatchingLoss(program).player("score matching")]
