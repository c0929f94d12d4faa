"""Principal component analysis: the noiseless limit of PPCA.

    z ~ N(0, Λ_q),    x = U_q z + μ,    z | x = U_qᵀ(x − μ)

with U_q (D × q) the leading eigenvectors of the sample covariance (divided by N) and Λ_q their eigenvalues. x has
no density: all mass lies on a q-dimensional plane, and log p(x) of PPCA tends to −∞ off it as σ² → 0.
"""

from __future__ import annotations

from typing import Any

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor

from unigen.densities.degenerate import Degenerate
from unigen.distributions.linear_gaussian import check_latents, check_spread, leading_axes
from unigen.errors import ArgumentError
from unigen.objectives.likelihood import mean_loss
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.program import Program


class ReconstructionLoss(ProgramLoss):
    """‖x − x̂‖² an example, x̂ the projection of x onto the plane."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean squared distance to the plane over the batch."""
        program: Any = self.program  # a PCA
        centred = x - program.mean
        return (centred - centred @ program.components.mT @ program.components).square().sum(-1).mean()


class LeastSquares(Objective):
    """Minimise the mean squared distance to a q-dimensional plane, in closed form (Eckart & Young 1936)."""

    def players(self, program: Program) -> list[Player]:
        """Return one player whose single update solves the problem."""
        if not isinstance(program, PCA):
            raise ArgumentError(program=program.name, got="LeastSquares()", expected="a PCA")
        loss = ReconstructionLoss(program)

        def update(x: Tensor, context: Tensor | None = None) -> Tensor:
            program.solve(x)
            with torch.no_grad():
                return mean_loss(loss, x)

        return [Player("least squares", loss, update=update, once=True)]


class PCA(Program):
    """x = Uz + μ with z ~ N(0, Λ): principal axes as a program.

    Sampling draws z from N(0, Λ) and maps it onto the plane; ``encode``, ``decode`` and ``reconstruct`` are the
    usual projections; ``log_prob`` raises, since the density is degenerate. The axes are determined by the data in
    one eigendecomposition and are buffers: there is nothing for a gradient to train (see PPCA).

    Args:
        features: D, length of x.
        latents: q, length of z; at most D.

    Raises:
        ArgumentError: Not 1 ≤ latents ≤ features.

    References:
        Pearson 1901; Hotelling 1933.

    Example:
        >>> pca = PCA(features=3, latents=1)
        >>> pca.solve(torch.tensor([[2.0, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0]]))
        >>> pca.explained_variance, pca.residual_variance
        (tensor([2.]), tensor([0.5000]))
    """

    components: Tensor
    mean: Tensor
    explained_variance: Tensor
    residual_variance: Tensor

    def __init__(self, features: int, latents: int = 2) -> None:
        check_latents(features, latents, "PCA", all_of_them=True)
        super().__init__((features,), objective=LeastSquares(), density=Degenerate())
        self.latents = latents
        self.register_buffer("components", torch.eye(features)[:latents])  # U_qᵀ, orthonormal rows
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("explained_variance", torch.ones(latents))  # λ_1 … λ_q
        self.register_buffer("residual_variance", torch.zeros(1))  # λ_{q+1} + … + λ_D

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(z) and x as a function of z."""
        with self.plate(x, n):
            scale = self.explained_variance.sqrt() + torch.finfo(self.dtype).tiny
            z = pyro.sample("z", dist.Normal(torch.zeros_like(scale), scale).to_event(1))
            return pyro.sample("x", dist.Delta(z @ self.components + self.mean, event_dim=1), obs=x)

    def guide(self, x: Tensor) -> Tensor:
        """Declare z as the projection of x."""
        with self.plate(x):
            return pyro.sample("z", dist.Delta((x - self.mean) @ self.components.mT, event_dim=1))

    @property
    def explained_variance_ratio(self) -> Tensor:
        """Share of the total variance along each axis, shape (q,)."""
        return self.explained_variance / (self.explained_variance.sum() + self.residual_variance)

    @torch.no_grad()
    def whiten(self, x: object) -> Tensor:
        """Return the coordinates on the axes in units of their standard deviations, Λ^{-1/2}Uᵀ(x − μ), shape (N, q).

        Over the data that determined the axes they have mean 0 and covariance I.

        Raises:
            ArgumentError: The data have no variance along an axis.
        """
        return self.encode(x) / self._scale()

    @torch.no_grad()
    def unwhiten(self, y: Tensor) -> Tensor:
        """Return UΛ^{1/2}y + μ, the point of the plane with whitened coordinates y (N, q), shape (N, D)."""
        return self.decode(y * self._scale())

    def _scale(self) -> Tensor:
        check_spread(self.explained_variance, self.residual_variance, self.name)
        return self.explained_variance.sqrt()

    @torch.no_grad()
    def solve(self, x: Tensor, weights: Tensor | None = None) -> None:
        """Set axes, mean and variances from the data, computed in float64.

        The sign of an axis is such that its entry of largest modulus is positive. Axes beyond the span of the
        data (constant features, fewer examples than latents) complete an orthonormal basis, with variance 0.

        Args:
            x: Data, shape (N, D).
            weights: How often each example counts, shape (N,), ≥ 0; once if omitted.

        Raises:
            NonFiniteError, ShapeError, ArgumentError: Bad data or weights.
        """
        mean, values, axes = leading_axes(x, weights, self.latents, self.name)
        self.components.copy_(axes.mT)
        self.mean.copy_(mean)
        self.explained_variance.copy_(values[: self.latents])
        self.residual_variance.copy_(values[self.latents :].sum().reshape(1))
