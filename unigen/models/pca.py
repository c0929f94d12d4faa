"""Principal component analysis: the noiseless limit of PPCA.

    z ~ N(0, Λ_q),    x = U_q z + μ,    z | x = U_qᵀ(x − μ)

with U_q (D × q) the leading eigenvectors of the sample covariance (divided by N) and Λ_q their eigenvalues. x has
no density: all mass lies on a q-dimensional plane, and log p(x) of PPCA tends to −∞ off it as σ² → 0.
"""

from __future__ import annotations

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor

from unigen.densities.density import Density
from unigen.distributions.principal import principal_axes
from unigen.errors import ArgumentError, NoDensityError
from unigen.logprob import Kind, LogProb
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.program import Program


class Degenerate(Density):
    """No density: the distribution lives on a plane. Asking for one, or for its kind, raises, and names PPCA."""

    @property
    def kind(self) -> Kind:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Raise NoDensityError."""
        raise NoDensityError(
            "all mass lies on a plane, so x has no density",
            program="PCA",
            site="x",
            hint="PPCA, which has noise σ² > 0",
        )

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Raise NoDensityError."""
        raise NoDensityError(
            "all mass lies on a plane, so x has no density",
            program=program.name,
            site="x",
            hint=f"PPCA(features={program.event_shape[0]}, latents=q), the same model with noise σ² > 0",
        )


class ReconstructionLoss(ProgramLoss):
    """‖x − x̂‖² an example, x̂ the projection of x onto the plane."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean squared distance to the plane over the batch."""
        program: PCA = self.program  # type: ignore[assignment]
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
                return loss(x)

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
        if not 1 <= latents <= features:
            raise ArgumentError(
                program="PCA",
                site="latents",
                got=f"{latents} of {features} features",
                expected="1 ≤ latents ≤ features",
            )
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
    def solve(self, x: Tensor) -> None:
        """Set axes, mean and variances from the data, computed in float64.

        The sign of an axis is such that its entry of largest modulus is positive.

        Args:
            x: Data, shape (N, D).
        """
        mean, values, axes = principal_axes(x)
        self.components.copy_(axes[:, : self.latents].mT)
        self.mean.copy_(mean)
        self.explained_variance.copy_(values[: self.latents])
        self.residual_variance.copy_(values[self.latents :].sum().reshape(1))
