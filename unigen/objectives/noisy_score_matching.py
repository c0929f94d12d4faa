"""Denoising score matching of an energy: the score of data under Gaussian noise, learned from the noise itself.

    J = ½ E_{x, ε} ‖σ s(x + σ ε) + ε‖²,      minimised by the score of p_data * N(0, σ² I).

One backward pass more than an energy's gradient; the model is one of x + σ ε, not of x. ``DenoisingScoreMatching`` is
the same at all noise levels of a diffusion.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.objectives.contrastive import unit
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.objectives.score_of import check_score, note_noise, score_of
from unigen.program import Program


class NoisyScoreLoss(ProgramLoss):
    """½ ‖σ s(x + σ ε) + ε‖², averaged over the batch.

    Args:
        program: What is trained.
        noise: σ in units of the program's length.
    """

    def __init__(self, program: Program, noise: float) -> None:
        super().__init__(program)
        self.noise = noise
        note_noise(program, noise)

    def terms(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the error of each example under fresh noise, shape (N,)."""
        eps, sigma = torch.randn_like(x), self.noise * unit(self.program)
        _, s = score_of(self.program, x + sigma * eps, context)
        return 0.5 * (sigma * s + eps).flatten(1).square().sum(1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean over the batch, a scalar."""
        return self.terms(x, context).mean()


@final
class NoisyScoreMatching(Objective):
    """Denoising score matching at one noise level, for any program that has a density or an energy.

    An ``EnergyModel`` takes note of σ, so that its draws end with Tweedie's estimate of the noiseless x.

    Args:
        noise: σ, in units of the program's length (its ``length`` if it has one, else that of x).

    Raises:
        ArgumentError: noise ≤ 0.

    References:
        Vincent, A connection between score matching and denoising autoencoders, 2011.

    Example:
        >>> import unigen as ug
        >>> model = ug.EnergyModel(2, objective=NoisyScoreMatching(noise=0.3), hidden=(8,))
        >>> ug.fit(model, torch.randn(32, 2), steps=2, progress=False).steps
        2
    """

    def __init__(self, noise: float = 0.1) -> None:
        if not noise > 0:
            raise ArgumentError(program="NoisyScoreMatching", site="noise", got=noise, expected="> 0")
        self.noise = noise

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the whole program.

        Raises:
            NoDensityError: The program has no score of its own on the reals.
        """
        check_score(program, "denoising score matching")
        return [NoisyScoreLoss(program, self.noise).player("denoising score matching")]
