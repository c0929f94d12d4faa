"""log Z as a number that training has found, as noise-contrastive estimation does."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unigen.densities.normaliser import Normaliser
from unigen.errors import ArgumentError
from unigen.logprob import Kind, LogProb
from unigen.program import Program


class LearnedNormaliser(nn.Module, Normaliser):
    """A learned constant c ≈ log Z; hand it to ``NoiseContrastive(log_z=…)`` and, after the fit, to ``Normalised``.

    Args:
        value: Where it starts, in nats.

    Raises:
        ArgumentError: That is not a finite number.

    Example:
        >>> import unigen as ug
        >>> constant, model = LearnedNormaliser(), ug.EnergyModel(2)
        >>> noise = ug.PPCA(2, 1)
        >>> _ = ug.fit(model, torch.randn(64, 2), objective=ug.NoiseContrastive(noise, log_z=constant), steps=2,
        ...            progress=False)
        >>> print(model.log_prob(torch.zeros(1, 2), density=ug.Normalised(constant)).kind)
        estimate
    """

    kind = Kind.ESTIMATE
    constant: Tensor

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        if not math.isfinite(value):
            raise ArgumentError(
                program="LearnedNormaliser", argument="value", got=value, expected="a finite number"
            )
        self.value = value
        self.constant = nn.Parameter(torch.full((1,), float(value)))

    def log_z(self, program: Program) -> LogProb:
        """Return the constant, shape (), an estimate whose error is that of the fit."""
        return LogProb(self.constant.squeeze(0), Kind.ESTIMATE)
