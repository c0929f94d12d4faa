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

from unigen.distributions.linear_gaussian import check_latents, check_maximum, check_weights, leading_axes
from unigen.distributions.missing import entries
from unigen.distributions.partial_low_rank import normal, observed_location, posterior, statistics
from unigen.distributions.rotation import Rotation, principal, rotated
from unigen.objectives.likelihood import EM, ClosedForm
from unigen.objectives.objective import Objective
from unigen.program import Program


class PPCA(Program):
    """p(x, z) = N(x; Wz + μ, σ²I) N(z; 0, I), with its exact posterior as the guide.

    The log-density is exact, the ELBO equals it, and ``fit`` solves for the parameters in closed form; they are
    ordinary parameters, so that EM and any gradient method train them too.

    Args:
        features: D, length of x.
        latents: q, length of z; smaller than D.
        objective: How ``fit`` finds the parameters: ``ClosedForm()``, ``EM()``, ``MaximumLikelihood()``, ``ELBO()``.
        missing: Whether NaN marks a missing entry (missing at random). All that is said of x is then said of its
            observed entries: ``log_prob`` is their exact marginal, 0 where there are none; the posterior is given
            them, the prior where there are none; ``impute`` fills in the others. ``EM()`` takes the place of
            ``ClosedForm()``.

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

    def __init__(
        self, features: int, latents: int = 2, *, objective: Objective = ClosedForm(), missing: bool = False
    ) -> None:
        check_latents(features, latents, "PPCA")
        iterate = missing and isinstance(objective, ClosedForm)
        super().__init__((features,), objective=EM() if iterate else objective)
        self.latents, self.missing = latents, missing
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
            return pyro.sample("x", entries(dist.Normal(loc, self.variance.sqrt()), self.missing), obs=x)

    def guide(self, x: Tensor) -> Tensor:
        """Declare p(z | x), which is Gaussian and exact."""
        with self.plate(x):
            noise = self.variance.expand_as(self.mean)
            return pyro.sample("z", posterior(self.weight, self.mean, noise, x, self.missing))

    def marginal(self, context: Tensor | None = None) -> TorchDistribution:
        """Return p(x) = N(μ, WWᵀ + σ²I)."""
        return normal(self.mean, self.weight, self.variance.expand_as(self.mean), self.missing)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Where entries may be missing, start at the observed means and variances, half of them noise."""
        if self.missing:
            mean, variance = observed_location(x, self.name)
            self.write(self.weight * (variance / 2).sqrt()[:, None], mean, variance.mean() / 2)

    @torch.no_grad()
    def write(self, weight: Tensor, mean: Tensor, variance: Tensor) -> None:
        """Set W (D, q), μ (D,) and σ² (one number).

        Raises:
            ArgumentError: σ² is not positive: the data span at most q dimensions and the likelihood has no maximum.
        """
        scale = variance.reshape(1) + weight.square().sum() / mean.shape[0]
        check_maximum(variance, scale, self.latents, self.name)
        self.weight.copy_(weight)
        self.mean.copy_(mean)
        self.log_variance.copy_(variance.reshape(1).log())

    @torch.no_grad()
    def solve(self, x: Tensor, weights: Tensor | None = None) -> None:
        """Set the parameters to their maximum-likelihood values, computed in float64.

        Args:
            x: Data, shape (N, D), complete.
            weights: How often each example counts, shape (N,), ≥ 0; once if omitted.

        Raises:
            NonFiniteError, ShapeError, ArgumentError: Bad data or weights, or data that span at most q dimensions.
        """
        mean, values, axes = leading_axes(x, weights, self.latents, self.name)
        variance = values[self.latents :].mean()
        self.write(axes * (values[: self.latents] - variance).clamp_min(0).sqrt(), mean, variance)

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
        noise = self.variance.expand_as(self.mean)
        found = statistics(x, r, self.weight, self.mean, noise, self.missing, self.name)
        ridge = None if precision is None else self.variance.double() * precision.double()
        weight, mean, residual = found.maximise(ridge)
        self.write(weight, mean, residual.sum() / found.count.sum())

    @torch.no_grad()
    def rotate(self, how: Rotation = principal) -> None:
        """Replace W by WR, R = how(W) orthogonal: other axes of z, the same p(x).

        Args:
            how: ``principal``, ``varimax``, or any function of W (D, q) that returns R (q, q).
        """
        self.weight.copy_(rotated(self.weight, how, self.name))
