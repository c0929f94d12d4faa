"""Probabilistic principal component analysis.

    z ~ N(0, I_q),    x | z ~ N(Wz + μ, σ²I_D),    x ~ N(μ, WWᵀ + σ²I),    z | x ~ N(M⁻¹Wᵀ(x − μ), σ²M⁻¹)

with M = WᵀW + σ²I. The maximum-likelihood parameters are, with eigenvalues λ_1 ≥ … ≥ λ_D and eigenvectors u_i
of the sample covariance (divided by N), σ² = mean of λ_{q+1} … λ_D and W = U_q (Λ_q − σ²I)^{1/2} up to rotation.
"""

from __future__ import annotations

import pyro
import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from unigen.distributions.linear_gaussian import check_weights, moments
from unigen.distributions.low_rank import LowRankNormal, linear_gaussian_posterior
from unigen.distributions.principal import principal_axes
from unigen.errors import ArgumentError
from unigen.objectives.likelihood import ClosedForm
from unigen.objectives.objective import Objective
from unigen.program import Program

DEGENERATE = 1e-12  # smallest σ² relative to the mean eigenvalue


class PPCA(Program):
    """p(x, z) = N(x; Wz + μ, σ²I) N(z; 0, I), with its exact posterior as the guide.

    The log-density is exact, the ELBO equals it, and ``fit`` solves for the parameters in closed form; they are
    ordinary parameters, so that EM and any gradient method train them too.

    Args:
        features: D, length of x.
        latents: q, length of z; smaller than D.
        objective: How ``fit`` finds the parameters: ``ClosedForm()``, ``EM()``, ``MaximumLikelihood()``, ``ELBO()``.

    Raises:
        ArgumentError: Not 1 ≤ latents < features.

    References:
        Tipping & Bishop, Probabilistic principal component analysis, 1999.

    Example:
        >>> ppca = PPCA(features=3, latents=1)
        >>> ppca.solve(torch.randn(500, 3) * torch.tensor([3.0, 1.0, 1.0]))
        >>> print(ppca.formula, ppca.log_prob(torch.zeros(1, 3)).kind, sep=" | ")
        p(x, z) = p(x | z) p(z);  q(z | x) | exact
    """

    def __init__(self, features: int, latents: int = 2, *, objective: Objective = ClosedForm()) -> None:
        if not 1 <= latents < features:
            raise ArgumentError(
                program="PPCA",
                site="latents",
                got=f"{latents} of {features} features",
                expected="1 ≤ latents < features",
            )
        super().__init__((features,), objective=objective)
        self.latents = latents
        self.weight = nn.Parameter(torch.randn(features, latents) / latents**0.5)
        self.mean = nn.Parameter(torch.zeros(features))
        self.log_variance = nn.Parameter(torch.zeros(1))

    @property
    def variance(self) -> Tensor:
        """σ², shape (1,)."""
        return self.log_variance.exp()

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z)."""
        with self.plate(x, n):
            z = pyro.sample("z", dist.Normal(self.mean.new_zeros(self.latents), 1.0).to_event(1))
            loc = z @ self.weight.mT + self.mean
            return pyro.sample("x", dist.Normal(loc, self.variance.sqrt()).to_event(1), obs=x)

    def guide(self, x: Tensor) -> Tensor:
        """Declare p(z | x), which is Gaussian and exact."""
        with self.plate(x):
            noise = self.variance.expand_as(self.mean)
            return pyro.sample("z", linear_gaussian_posterior(self.weight, self.mean, noise, x))

    def marginal(self, context: Tensor | None = None) -> TorchDistribution:
        """Return p(x) = N(μ, WWᵀ + σ²I)."""
        return LowRankNormal(self.mean, self.weight, self.variance.expand_as(self.mean))

    @torch.no_grad()
    def write(self, weight: Tensor, mean: Tensor, variance: Tensor) -> None:
        """Set W (D, q), μ (D,) and σ² (one number).

        Raises:
            ArgumentError: σ² is not positive: the data span at most q dimensions and the likelihood has no maximum.
        """
        scale = variance.reshape(1) + weight.square().sum() / mean.shape[0]
        if not bool(variance > DEGENERATE * scale):
            raise ArgumentError(
                "the likelihood has no maximum: the data lie in a subspace of as many dimensions as the latent",
                program=self.name,
                site="latents",
                got=self.latents,
                hint="fewer latents, more examples, or noise on the data",
            )
        self.weight.copy_(weight)
        self.mean.copy_(mean)
        self.log_variance.copy_(variance.reshape(1).log())

    @torch.no_grad()
    def solve(self, x: Tensor) -> None:
        """Set the parameters to their maximum-likelihood values, computed in float64.

        Args:
            x: Data, shape (N, D).

        Raises:
            ArgumentError: The data span at most q dimensions.
        """
        mean, values, axes = principal_axes(x)
        variance = values[self.latents :].mean()
        scale = (values[: self.latents] - variance).clamp_min(0).sqrt()
        self.write(axes[:, : self.latents] * scale, mean, variance)

    @torch.no_grad()
    def em_step(self, x: Tensor, weights: Tensor | None = None, precision: Tensor | None = None) -> None:
        """Replace the parameters by those of one EM step, at the data's mean; in float64.

        Args:
            x: All data, shape (N, D).
            weights: How often each example counts, shape (N,), ≥ 0; once if omitted.
            precision: α of a prior W_di ~ N(0, 1/α_i), shape (q,); none if omitted.

        Raises:
            NonFiniteError, ShapeError, ArgumentError: Bad data or weights, or data that span at most q dimensions.
        """
        r = check_weights(weights, x.shape[0], self.name)
        statistics = moments(x, r, self.weight, self.variance.expand_as(self.mean), self.name)
        ridge = None if precision is None else self.variance.double() * precision.double()
        weight, mean, residual = statistics.maximise(ridge)
        self.write(weight, mean, residual.sum() / statistics.count.sum())
