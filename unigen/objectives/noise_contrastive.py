"""Noise-contrastive estimation: an energy, and its log Z, by telling data from draws of a known density.

    J = −E_data log σ(h(x)) − ν E_{y ~ q} log σ(−h(y)),      h(x) = −E(x) − c − log q(x) − log ν

At the optimum h is the log ratio of the densities, so that −E − c is log p: the constant c has become log Z.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from unigen.errors import ArgumentError, NoDensityError, ShapeError
from unigen.logprob import Kind
from unigen.objectives.objective import Objective, Player, ProgramLoss, trainable
from unigen.objectives.score_of import note_noise
from unigen.program import Program


class NoiseContrastiveLoss(ProgramLoss):
    """The two-class log loss of data against noise; holds the program, the constant and the noise.

    Args:
        program: What is trained.
        base: q, left as it is.
        ratio: ν, draws of the noise for each example.
        log_z: A module with one parameter ``constant``, shape (1,); None where the program is normalised.
    """

    def __init__(self, program: Program, base: Program, ratio: int, log_z: nn.Module | None) -> None:
        super().__init__(program)
        self.base, self.ratio, self.log_z = base, ratio, log_z
        note_noise(program, 0.0)

    def logit(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return h(x), shape (N,)."""
        h = self.program.density_of(x, context).value - math.log(self.ratio)
        if self.log_z is not None:
            h = h - self.log_z.constant
        with torch.no_grad():
            log_q = self.base.density_of(x).value
        return h - log_q

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the loss of a batch in nats an example."""
        with torch.no_grad():
            y = self.base.draw(self.ratio * x.shape[0])
        c = None if context is None else context.repeat(self.ratio, 1)
        return softplus(-self.logit(x, context)).mean() + self.ratio * softplus(self.logit(y, c)).mean()


class Constant(nn.Module):
    """c of a loss of its own, shape (1,)."""

    def __init__(self) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.zeros(1))


@final
class NoiseContrastive(Objective):
    """Noise-contrastive estimation, for any program that has a density or an energy.

    Args:
        base: q, the noise: any unconditional program with exact density and draws over the same x, the nearer to the
            data the better.
        ratio: ν, draws of the noise for each example.
        log_z: A ``LearnedNormaliser``, where the constant is to be kept; it stays with the loss if omitted. The energy
            has a free constant of its own in most networks, so that only E + c has a meaning.

    Raises:
        ArgumentError: ratio < 1, or a base without an exact density.

    References:
        Gutmann & Hyvärinen, Noise-contrastive estimation of unnormalized statistical models, JMLR 2012.

    Example:
        >>> import unigen as ug
        >>> model = ug.EnergyModel(2, hidden=(8,), objective=NoiseContrastive(ug.PPCA(2, 1)))
        >>> ug.fit(model, torch.randn(32, 2), steps=2, progress=False).steps
        2
    """

    def __init__(self, base: Program, *, ratio: int = 1, log_z: nn.Module | None = None) -> None:
        if isinstance(ratio, bool) or not isinstance(ratio, int) or ratio < 1:
            raise ArgumentError(
                program="NoiseContrastive", site="ratio", got=ratio, expected="a positive integer"
            )
        if not isinstance(base, Program) or base.kind is not Kind.EXACT or base.context_features:
            raise ArgumentError(
                "the noise needs an exact density and draws", program="NoiseContrastive", site="base",
                got=f"kind {base.kind}" if isinstance(base, Program) else type(base).__name__,
                expected="an unconditional program of kind exact", hint="ug.PPCA or ug.NSF, fitted to the data",
            )  # fmt: skip
        if log_z is not None and not isinstance(getattr(log_z, "constant", None), nn.Parameter):
            raise ArgumentError(
                program="NoiseContrastive",
                site="log_z",
                got=type(log_z).__name__,
                expected="LearnedNormaliser()",
            )
        self.base, self.ratio, self.log_z = base, ratio, log_z

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the program and the constant.

        Raises:
            NoDensityError: The program has only a bound or an estimate of its density.
            ShapeError: The noise is over another x.
        """
        if program.kind not in (Kind.EXACT, Kind.UNNORMALISED):
            raise NoDensityError(
                "noise-contrastive estimation needs a density or an energy", program=program.name,
                got=f"kind {program.kind}", hint="objective=ELBO()",
            )  # fmt: skip
        if self.base.event_shape != program.event_shape:
            raise ShapeError(
                program="NoiseContrastive", site="base", got=tuple(self.base.event_shape),
                expected=tuple(program.event_shape),
            )  # fmt: skip
        log_z = None
        if program.kind is Kind.UNNORMALISED:
            log_z = (Constant() if self.log_z is None else self.log_z).to(program.device, program.dtype)
        self.base.to(program.device, program.dtype)
        loss = NoiseContrastiveLoss(program, self.base, self.ratio, log_z)
        return [Player("noise contrast", loss, trainable(loss, "program.") | trainable(loss, "log_z."))]
