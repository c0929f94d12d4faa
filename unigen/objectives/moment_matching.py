"""Generators without a critic: minimise a distance between samples that has an unbiased estimate.

    MomentMatching    MMD²(data, program) with a Gaussian kernel
    EnergyDistance    2 E‖x − y‖ − E‖x − x'‖ − E‖y − y'‖

Each step compares a batch of data with as many draws; ``nn.kernels`` has the estimators.
"""

from __future__ import annotations

from typing import final

from torch import Tensor

from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.nn.kernels import DistanceKernel, GaussianKernel, Kernel, squared_mmd
from unigen.objectives.differentiable import check_draws
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.program import Program
from unigen.queries import ancestral


class DiscrepancyLoss(ProgramLoss):
    """The unbiased estimate of MMD² between a batch and as many draws."""

    def __init__(self, program: Program, kernel: Kernel) -> None:
        super().__init__(program)
        self.kernel = kernel

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the estimate, which may be negative."""
        return squared_mmd(self.kernel, x, ancestral(self.program, x.shape[0], context))


def _players(program: Program, kernel: Kernel, name: str) -> list[Player]:
    """Return one player, which lowers the discrepancy of the marginal of x.

    Raises:
        ArgumentError: The draws are not differentiable.
        UnsupportedQueryError: A conditional program, of which such samples compare the marginal alone.
    """
    if program.context_features:
        raise UnsupportedQueryError(
            "a distance between samples of x says nothing of how x depends on the context",
            program=program.name,
            hint="Adversarial(…), whose critic sees the context too",
        )
    check_draws(program)
    return [DiscrepancyLoss(program, kernel).player(name)]


@final
class MomentMatching(Objective):
    """Minimise the squared maximum mean discrepancy between data and program.

    Args:
        kernel: The kernel; ``GaussianKernel(bandwidths)`` by default, whose bandwidths scale with the data.

    Raises:
        ArgumentError: No kernel; from ``players``: draws that are not differentiable.
        UnsupportedQueryError: From ``players``: a conditional program.

    References:
        Li, Swersky & Zemel, Generative moment matching networks, 2015; Dziugaite, Roy & Ghahramani 2015.

    Example:
        >>> import torch
        >>> from unigen.models.gan import GAN
        >>> torch.isfinite(MomentMatching().players(GAN(2, 2))[0].loss(torch.randn(8, 2))).item()
        True
    """

    def __init__(self, kernel: Kernel = GaussianKernel()) -> None:
        if not isinstance(kernel, Kernel):
            raise ArgumentError(
                program="MomentMatching",
                site="kernel",
                got=type(kernel).__name__,
                expected="GaussianKernel(…)",
            )
        self.kernel = kernel

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the whole program."""
        return _players(program, self.kernel, "squared mmd")


@final
class EnergyDistance(Objective):
    """Minimise the energy distance between data and program; it has no bandwidth to choose.

    Args:
        power: Of the distances, in (0, 2).

    Raises:
        ArgumentError: A power outside its range; from ``players``: draws that are not differentiable.
        UnsupportedQueryError: From ``players``: a conditional program.

    References:
        Székely & Rizzo, Energy statistics, 2013; Bellemare et al., The Cramér distance, 2017.
    """

    def __init__(self, power: float = 1.0) -> None:
        DistanceKernel(power)
        self.power = power

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the whole program."""
        return _players(program, DistanceKernel(self.power), "energy distance")
