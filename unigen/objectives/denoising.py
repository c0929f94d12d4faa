"""Denoising score matching, with any weighting and any density of times.

    L = E_{u, t, eps} [ weight(t) ‖eps − eps_hat(alpha_t u + sigma_t eps, t)‖² ],     t uniform on [start, 1].

Predicting eps, x0, v or the score is the same loss up to the weight (`unigen.dynamics.prediction`). Only the likelihood
weighting, with the prior and reconstruction terms, gives nats: the negative evidence lower bound. Times of another
density are reweighted: the loss stays the same, only its variance changes (`unigen.dynamics.time_density`).
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from unigen.dynamics.denoiser import denoiser_of
from unigen.dynamics.time_density import TimeDensity, UniformTime
from unigen.dynamics.times import LowDiscrepancyTimes, Times
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.objectives.weighting import LikelihoodWeighting, Weighting
from unigen.program import Program


class DenoisingLoss(ProgramLoss):
    """The weighted squared error of the predicted noise; holds the program.

    Args:
        program: What is trained.
        weighting: Weight of each time.
        times: How times are drawn.
        density: How they are spread.
    """

    def __init__(self, program: Program, weighting: Weighting, times: Times, density: TimeDensity) -> None:
        super().__init__(program)
        self.weighting, self.times, self.density = weighting, times, density

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean over the batch: −ELBO in nats under `LikelihoodWeighting`, else the weighted error."""
        denoiser = denoiser_of(self.program)
        t, eps = self.times.draw(x), torch.randn_like(x)
        t, factor = self.density.place(t, denoiser.schedule, denoiser.start)
        u = denoiser.to_unit(x)
        terms = self.weighting.weight(denoiser, t) * factor * denoiser.noise_error(u, t, eps, context)
        if self.weighting.nats:
            terms = denoiser.prior_term(u) + terms + denoiser.reconstruction_term(u) + denoiser.log_volume()
        return terms.mean()


@final
class DenoisingScoreMatching(Objective):
    """Train a diffusion by predicting the noise that was added.

    Args:
        weighting: Weight of each time; only `LikelihoodWeighting` gives nats.
        times: How the times of a batch are drawn: independent, evenly, or in mirrored pairs.
        density: How they are spread; the loss is the same for every density, its variance is not.

    References:
        Vincent 2011, A connection between score matching and denoising autoencoders; Kingma & Gao 2023.

    Example:
        >>> DenoisingScoreMatching()
        DenoisingScoreMatching(weighting=LikelihoodWeighting(), times=LowDiscrepancyTimes(), density=UniformTime())
    """

    def __init__(
        self,
        weighting: Weighting = LikelihoodWeighting(),
        times: Times = LowDiscrepancyTimes(),
        density: TimeDensity = UniformTime(),
    ) -> None:
        self.weighting, self.times, self.density = weighting, times, density

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the whole program.

        Raises:
            ArgumentError: The program has no denoiser, or the density of times is not defined on its schedule.
        """
        denoiser = denoiser_of(program)
        self.density.check(denoiser.schedule, denoiser.start)
        return [DenoisingLoss(program, self.weighting, self.times, self.density).player("denoising")]


class SurrogateLoss(ProgramLoss):
    """Minus the program's own stand-in for log p(x)."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean over the batch, in nats where the stand-in is a bound."""
        return -self.program.surrogate(x, context).mean()


@final
class SubsampledELBO(Objective):
    """Maximise the bound of a deep hierarchy by one random level an example, as the program's ``surrogate`` does.

    References:
        Ho et al. 2020; Kingma et al. 2021.
    """

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the whole program."""
        return [SurrogateLoss(program).player("elbo")]
