"""Factor analysis: linear-Gaussian with one noise variance a feature.

    z ~ N(0, I_q),    x | z ~ N(Wz + μ, Ψ),    x ~ N(μ, WWᵀ + Ψ),    Ψ = diag ψ

The EM step takes the best W for the present Ψ, by an eigendecomposition of S̃ = Ψ^{-1/2} S Ψ^{-1/2},
W = Ψ^{1/2} U_q (Λ_q − I)₊^{1/2}, and then ψ = diag(S − WWᵀ): plain EM's ψ-step from a better place, so that the
likelihood never falls and some ten steps do the work of hundreds.
"""

from __future__ import annotations

import pyro
import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from unigen.distributions.linear_gaussian import check_latents, check_noise, check_weights, finite_covariance
from unigen.distributions.missing import entries
from unigen.distributions.partial_low_rank import (
    has_missing,
    normal,
    observed_location,
    posterior,
    statistics,
)
from unigen.distributions.rotation import Rotation, principal, rotated
from unigen.errors import ArgumentError
from unigen.objectives.likelihood import EM
from unigen.objectives.objective import Objective
from unigen.program import Program


class FactorAnalysis(Program):
    """p(x, z) = N(x; Wz + μ, diag ψ) N(z; 0, I), with its exact posterior as the guide.

    Args:
        features: D, length of x.
        latents: q, length of z; smaller than D.
        floor: Smallest ψ, as a fraction of the mean variance of the data: without one a single feature may be
            explained perfectly and the likelihood is unbounded (a Heywood case).
        objective: How ``fit`` finds the parameters.
        missing: Whether NaN marks a missing entry (missing at random). All that is said of x is then said of its
            observed entries: ``log_prob`` is their exact marginal, 0 where there are none; the posterior is given
            them, the prior where there are none; ``impute`` fills in the others.

    Raises:
        ArgumentError: Not 1 ≤ latents < features, or a negative floor.

    References:
        Rubin & Thayer 1982; Barber, Bayesian reasoning and machine learning, algorithm 21.1.

    Example:
        >>> fa = FactorAnalysis(features=3, latents=1)
        >>> fa.em_step(torch.randn(100, 3))
        >>> fa.log_prob(torch.zeros(1, 3)).kind
        <Kind.EXACT: 'exact'>
    """

    def __init__(
        self,
        features: int,
        latents: int = 2,
        *,
        floor: float = 1e-6,
        objective: Objective = EM(),
        missing: bool = False,
    ) -> None:
        check_latents(features, latents, "FactorAnalysis")
        if not 0 <= floor < 1:
            raise ArgumentError(program="FactorAnalysis", site="floor", got=floor, expected="0 ≤ floor < 1")
        super().__init__((features,), objective=objective)
        self.latents, self.floor, self.missing = latents, floor, missing
        self.weight = nn.Parameter(torch.randn(features, latents) / latents**0.5)
        self.mean = nn.Parameter(torch.zeros(features))
        self.log_noise = nn.Parameter(torch.zeros(features))

    @property
    def noise(self) -> Tensor:
        """ψ, the noise variance of each feature, shape (D,)."""
        return self.log_noise.exp()

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z)."""
        with self.plate(x, n):
            z = pyro.sample("z", dist.Normal(self.mean.new_zeros(self.latents), 1.0).to_event(1))
            loc = z @ self.weight.mT + self.mean
            return pyro.sample("x", entries(dist.Normal(loc, self.noise.sqrt()), self.missing), obs=x)

    def guide(self, x: Tensor) -> Tensor:
        """Declare p(z | x), which is Gaussian and exact."""
        with self.plate(x):
            return pyro.sample("z", posterior(self.weight, self.mean, self.noise, x, self.missing))

    def marginal(self, context: Tensor | None = None) -> TorchDistribution:
        """Return p(x) = N(μ, WWᵀ + Ψ)."""
        return normal(self.mean, self.weight, self.noise, self.missing)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Where entries may be missing, start at the observed means and variances, half of them noise."""
        if self.missing:
            mean, variance = observed_location(x, self.name)
            self._write(self.weight * (variance / 2).sqrt()[:, None], mean, variance / 2, variance)

    @torch.no_grad()
    def em_step(self, x: Tensor, weights: Tensor | None = None, precision: Tensor | None = None) -> None:
        """Replace W by its best value given ψ, then ψ, then μ by the data's mean; in float64.

        With missing entries or a prior it is plain EM.

        Args:
            x: All data, shape (N, D).
            weights: How often each example counts, shape (N,), ≥ 0; once if omitted.
            precision: α of a prior W_di ~ N(0, 1/α_i), shape (q,); none if omitted.

        Raises:
            NonFiniteError: Bad data, or a feature of the data is constant and ``floor`` is 0.
            ShapeError, ArgumentError, EmptyDataError: Bad weights, or a feature that is never observed.
        """
        r, noise = check_weights(weights, x.shape[0], self.name), self.noise.double()
        if precision is not None or (self.missing and has_missing(x)):
            found = statistics(x, r, self.weight, self.mean, noise, self.missing, self.name)
            ridge = None if precision is None else noise[:, None] * precision.double()
            weight, mean, residual = found.maximise(ridge)
            self._write(weight, mean, residual / found.count, found.variances)
            return
        mean, covariance = finite_covariance(x, r, self.name)
        variances, root = covariance.diagonal(), noise.sqrt()
        values, vectors = torch.linalg.eigh(covariance / root / root[:, None])
        values, vectors = values.flip(0)[: self.latents], vectors.flip(1)[:, : self.latents]
        weight = root[:, None] * vectors * (values - 1).clamp_min(0).sqrt()
        self._write(weight, mean, variances - weight.square().sum(1), variances)

    def _write(self, weight: Tensor, mean: Tensor, noise: Tensor, variances: Tensor) -> None:
        noise = noise.clamp_min(self.floor * variances.mean())
        check_noise(noise, self.name)
        self.weight.copy_(weight)
        self.mean.copy_(mean)
        self.log_noise.copy_(noise.log())

    @torch.no_grad()
    def rotate(self, how: Rotation = principal) -> None:
        """Replace W by WR, R = how(W) orthogonal: other axes of z, the same p(x).

        Args:
            how: ``principal``, ``varimax``, or any function of W (D, q) that returns R (q, q).
        """
        self.weight.copy_(rotated(self.weight, how, self.name))
