"""Denoising score matching, with each weighting under its own name.

    L = E_{u, t, eps} [ w(t) ‖eps − eps_hat(alpha_t u + sigma_t eps, t)‖² ],     t uniform.

Predicting eps, x0, v or the score is the same loss up to w(t) (`unigen.dynamics.prediction`). Only the likelihood
weighting, with the prior and reconstruction terms, gives nats: the negative evidence lower bound.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from unigen.dynamics.denoiser import Denoiser, denoiser_of
from unigen.dynamics.times import LowDiscrepancyTimes, Times
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.program import Program


class Weighting(ABC):
    """Weight w(t) of the squared error of the noise; final classes below."""

    nats: bool = False

    @abstractmethod
    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """w(t), the shape of t."""

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"{type(self).__name__}()"


@final
class Likelihood(Weighting):
    """w = g² / (2 sigma²), and the prior and reconstruction terms: the loss is −ELBO(x) in nats.

    References:
        Song et al. 2021, Maximum likelihood training of score-based diffusion models; Kingma et al. 2021.
    """

    nats = True

    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """(1 − start) g² / (2 sigma²)."""
        return denoiser.likelihood_weight(t)


@final
class NoiseError(Weighting):
    """w = 1: the "simple" loss of DDPM on eps; also E[sigma² ‖score error‖²]. Not a bound.

    References:
        Ho et al. 2020, Denoising diffusion probabilistic models; Vincent 2011.
    """

    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(t)


@final
class VelocityError(Weighting):
    """w = (alpha + sigma²/alpha)²: the squared error of v = alpha eps − sigma x0. Not a bound.

    References:
        Salimans & Ho 2022, Progressive distillation.
    """

    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """(alpha + sigma² / alpha)²."""
        alpha, sigma = denoiser.schedule.alpha(t), denoiser.schedule.sigma(t)
        return (alpha + sigma.square() / alpha).square()


@final
class DataError(Weighting):
    """w = sigma² / alpha² = 1/SNR: the squared error of x0 itself. Not a bound."""

    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """1 / SNR."""
        return torch.exp(-denoiser.schedule.log_snr(t))


class DenoisingLoss(ProgramLoss):
    """The weighted squared error of the predicted noise; holds the program.

    Args:
        program: What is trained.
        weighting: w(t).
        times: How times are drawn.
    """

    def __init__(self, program: Program, weighting: Weighting, times: Times) -> None:
        super().__init__(program)
        self.weighting, self.times = weighting, times

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the loss, the mean over the batch: −ELBO in nats under `Likelihood`, else the weighted error."""
        denoiser = denoiser_of(self.program)
        t, eps = self.times.draw(x), torch.randn_like(x)
        if self.weighting.nats:
            return -denoiser.bound(x, t, eps, context).mean()
        t = denoiser.at(t)
        error = denoiser.noise_error(denoiser.to_unit(x), t, eps, context)
        return (self.weighting.weight(denoiser, t) * error).mean()


@final
class DenoisingScoreMatching(Objective):
    """Train a diffusion by predicting the noise that was added.

    Args:
        weighting: w(t); only `Likelihood` gives nats.
        times: How the times of a batch are drawn.

    References:
        Vincent 2011, A connection between score matching and denoising autoencoders; Kingma & Gao 2023.
    """

    def __init__(self, weighting: Weighting = Likelihood(), times: Times = LowDiscrepancyTimes()) -> None:
        self.weighting, self.times = weighting, times

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the whole program.

        Raises:
            ArgumentError: The program has no denoiser.
        """
        denoiser_of(program)
        return [DenoisingLoss(program, self.weighting, self.times).player("denoising")]


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
