"""Sliced score matching: the divergence of the score along random directions only.

    J = E_x E_v [½ ‖s(x)‖² + v·∇(v·s(x))],      E v vᵀ = I,

equal in expectation to score matching, at two backward passes a direction whatever the dimension.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.objectives.score_of import check_score, note_noise, score_of, slope_of
from unigen.program import Program


class SlicedLoss(ProgramLoss):
    """½ ‖s‖² + mean over directions of v·∇(v·s), averaged over the batch.

    Args:
        program: What is trained.
        projections: Directions an example.
    """

    def __init__(self, program: Program, projections: int) -> None:
        super().__init__(program)
        self.projections = projections
        note_noise(program, 0.0)

    def terms(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the estimate of each example, shape (N,)."""
        x, s = score_of(self.program, x, context)
        curvature = torch.zeros_like(s.flatten(1)[:, 0])
        for _ in range(self.projections):
            v = 2.0 * torch.randint_like(s, 2) - 1.0
            curvature = curvature + (v * slope_of((v * s).flatten(1).sum(1), x)).flatten(1).sum(1)
        return 0.5 * s.flatten(1).square().sum(1) + curvature / self.projections

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean over the batch, a scalar."""
        return self.terms(x, context).mean()


@final
class SlicedScoreMatching(Objective):
    """Score matching along random signs, with the norm of the score in closed form (SSM-VR).

    Args:
        projections: Directions an example and step.

    Raises:
        ArgumentError: projections < 1.

    References:
        Song, Garg, Shi & Ermon, Sliced score matching, 2019.

    Example:
        >>> import unigen as ug
        >>> model = ug.EnergyModel(50, energy=ug.Tilt(50, hidden=(8,)), objective=SlicedScoreMatching())
        >>> ug.fit(model, torch.randn(32, 50), steps=2, progress=False).steps
        2
    """

    def __init__(self, projections: int = 1) -> None:
        if isinstance(projections, bool) or not isinstance(projections, int) or projections < 1:
            raise ArgumentError(
                program="SlicedScoreMatching",
                site="projections",
                got=projections,
                expected="a positive integer",
            )
        self.projections = projections

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the whole program.

        Raises:
            NoDensityError: The program has no score of its own on the reals.
        """
        check_score(program, "sliced score matching")
        return [SlicedLoss(program, self.projections).player("sliced score matching")]
