"""Automatic relevance determination: as many latent directions as the data need.

Notation: W (D, q) the loadings, w_i its columns, s_i = ‖w_i‖², N examples. The prior w_i ~ N(0, I/α_i) with α_i at its
best value, α_i = D / (s_i + Dε), costs ½ D log(s_i + Dε) nats up to a constant, so that the objective is

    −1/N Σ_n log p(x_n) + D/2N Σ_i log(s_i + Dε),

ε > 0 a tiny fraction of the variance of the data. A direction that gains less than its price shrinks to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from unigen.errors import ArgumentError, NoDensityError
from unigen.objectives.likelihood import LikelihoodLoss
from unigen.objectives.objective import Objective, Player
from unigen.program import Program

RELEVANT = (
    1e-6  # smallest s_i / D of a direction in use, as a fraction of the mean variance of x under the program
)


class HasLoadings(Protocol):
    """A program whose latent enters as Wz, with an EM step under a Gaussian prior on W."""

    weight: Tensor

    def em_step(self, x: Tensor, weights: Tensor | None = None, precision: Tensor | None = None) -> None:
        """Replace the parameters by those of one EM step with W_di ~ N(0, 1/precision_i)."""

    def rotate(self) -> None:
        """Make the columns of W orthogonal, which leaves p(x) as it is."""


class ARD(Objective):
    """Maximum a posteriori EM with a precision for each latent direction, re-estimated in every step.

        E, M:  W, ψ, μ by EM under w_i ~ N(0, I/α_i);    α_i = D / (‖w_i‖² + Dε)

    The columns are made orthogonal after each step, which never raises the price: Π s_i ≥ det WᵀW (Hadamard). The
    objective never rises. For PPCA with c = D/N a direction of eigenvalue λ survives if λ ≥ σ²(√c + √(1 + c))²: just
    above √c + 1 squared, the largest eigenvalue of pure noise.

    Args:
        floor: ε as a fraction of the mean variance of the features.

    Raises:
        ArgumentError: Not 0 < floor < 10⁻⁶.

    References:
        Bishop, Bayesian PCA, NeurIPS 1999; MacKay 1995 (the name).

    Example:
        >>> from unigen.models.ppca import PPCA
        >>> ppca, x = PPCA(10, 6), torch.randn(500, 2) @ torch.randn(2, 10) + 0.1 * torch.randn(500, 10)
        >>> player = ARD().players(ppca)[0]
        >>> for _ in range(100):
        ...     loss = player.update(x, None)
        >>> int(ARD().relevant(ppca).sum())
        2
    """

    def __init__(self, floor: float = 1e-12) -> None:
        if not 0 < floor < RELEVANT:
            raise ArgumentError(program="ARD", site="floor", got=floor, expected=f"0 < floor < {RELEVANT:g}")
        self.floor = floor

    def players(self, program: Program) -> list[Player]:
        """Return one player whose updates are EM steps on all data.

        Raises:
            NoDensityError: The program has no loadings, or no EM step under a prior on them.
        """
        if not all(hasattr(program, name) for name in ("weight", "em_step", "rotate")):
            raise NoDensityError(
                "no EM step under a prior on loadings", program=program.name, hint="PPCA or FactorAnalysis"
            )
        loss = LikelihoodLoss(program)
        return [Player("ard", loss, update=self._update(program, loss))]

    def _update(self, program: Program, loss: LikelihoodLoss) -> Callable[..., Tensor]:
        linear = cast(HasLoadings, program)

        def update(x: Tensor, context: Tensor | None = None) -> Tensor:
            with torch.no_grad():
                epsilon = self.floor * mean_variance(x)
                linear.em_step(x, precision=1.0 / _spread(linear.weight, epsilon))
                linear.rotate()
                return loss(x, context) + self.price(linear.weight, epsilon, x.shape[0])

        return update

    def price(self, weight: Tensor, epsilon: Tensor, n: int) -> Tensor:
        """Return D/2N Σ_i log(s_i + Dε) in nats an example: what the prior on W (D, q) costs, up to a constant."""
        d = weight.shape[0]
        return d / (2 * n) * (d * _spread(weight, epsilon)).log().sum()

    def relevant(self, program: Program) -> Tensor:
        """Return which latent directions are in use, shape (q,): those with s_i / D above 10⁻⁶ of the variance of x."""
        weight: Any = program.weight
        with torch.no_grad():
            total = program.marginal().variance.mean()
            return weight.square().mean(0) > RELEVANT * total


def _spread(weight: Tensor, epsilon: Tensor) -> Tensor:
    """Return 1/α_i = s_i / D + ε, shape (q,), in float64."""
    return weight.double().square().mean(0) + epsilon


def mean_variance(x: Tensor) -> Tensor:
    """Return the mean variance of the features over their observed entries, in float64; 1 if it is zero."""
    rows = x.double()
    variance = (rows - rows.nanmean(0)).square().nanmean()
    return torch.where(variance > 0, variance, 1.0)
