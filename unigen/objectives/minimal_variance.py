"""A learned schedule whose shape makes the bound easy to estimate.

The likelihood's bound L = E_t [ℓ_t] depends on the ends of the log SNR alone: the shape between them is free. It is
trained to minimise E_t [ℓ_t²], and with it the variance, whose least value is that of ℓ_t the same at every time:

    E_t [ℓ_t²] ≥ (E_t [ℓ_t])²,      ℓ_t = ½ (−dλ/dt) ‖eps − eps_hat‖².
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from unigen.dynamics.denoiser import denoiser_of
from unigen.dynamics.learned_snr import LearnedSNR
from unigen.dynamics.times import LowDiscrepancyTimes, Times
from unigen.errors import ArgumentError
from unigen.objectives.denoising import DenoisingScoreMatching
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.program import Program


@final
class SecondMoment(ProgramLoss):
    """The mean square of the diffusion term over times.

    Args:
        program: What is trained.
        times: How times are drawn.
    """

    def __init__(self, program: Program, times: Times) -> None:
        super().__init__(program)
        self.times = times

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return E ℓ_t², in nats²."""
        denoiser = denoiser_of(self.program)
        t, eps = denoiser.at(self.times.draw(x)), torch.randn_like(x)
        terms = denoiser.likelihood_weight(t) * denoiser.noise_error(denoiser.to_unit(x), t, eps, context)
        return terms.square().mean()


@final
class MinimalVariance(Objective):
    """Train network and ends of the log SNR by the bound, its shape for the least variance of the estimate.

    Args:
        times: How the times of a batch are drawn.
        lr: Learning rate factor of the shape.

    Raises:
        ArgumentError: The factor is not positive.

    References:
        Kingma et al. 2021, Variational diffusion models, section 5.1 and appendix I.2.

    Example:
        >>> from unigen.models.diffusion import Diffusion
        >>> program = Diffusion(2, hidden=8, blocks=1, schedule=LearnedSNR(hidden=4), objective=MinimalVariance())
        >>> [player.name for player in program.objective.players(program)]
        ['denoising', 'shape of the schedule']
    """

    def __init__(self, times: Times = LowDiscrepancyTimes(), lr: float = 1.0) -> None:
        if not lr > 0.0:
            raise ArgumentError(program="MinimalVariance", site="lr", got=lr, expected="a positive factor")
        self.times, self.lr = times, lr

    def players(self, program: Program) -> list[Player]:
        """Return the player of the bound and that of the shape.

        Raises:
            ArgumentError: The program has no denoiser, or its schedule is not learned.
        """
        schedule = denoiser_of(program).schedule
        if not isinstance(schedule, LearnedSNR):
            raise ArgumentError(
                "only a learned schedule has a shape to train", program=program.name, site="schedule", got=schedule,
                expected="LearnedSNR()", hint="objective=ug.DenoisingScoreMatching(density=ug.UniformLogSNR())",
            )  # fmt: skip
        (bound,) = DenoisingScoreMatching(times=self.times).players(program)
        shape = {id(parameter) for parameter in schedule.shape()}
        loss = SecondMoment(program, self.times)
        own = {name: p for name, p in loss.player("").parameters.items() if id(p) in shape}
        bound.parameters = {name: p for name, p in bound.parameters.items() if id(p) not in shape}
        return [bound, Player("shape of the schedule", loss, own, lr=self.lr, measure=False)]
