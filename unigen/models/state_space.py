"""The linear-Gaussian state-space model, or Kalman filter model: factor analysis whose factors move.

    z_1 ~ N(m, P),   z_t | z_{t−1} ~ N(A z_{t−1}, Q),   x_t | z_t ~ N(C z_t + d, diag r)

Notation: x (N, T, D) observed sequences, z (N, T, K) states. Everything is Gaussian: the evidence comes from
the Kalman filter, the guide is the exact posterior over paths (the smoother), and the ELBO is the evidence.
"""

from __future__ import annotations

import pyro
import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from unigen.distributions.emitted import Emitted
from unigen.distributions.gaussian_chain import GaussianChain, LinearEmission
from unigen.distributions.missing import WithMissing
from unigen.distributions.principal import principal_axes
from unigen.errors import ArgumentError
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe

PERSISTENCE = 0.9  # initial A = 0.9 I


class StateSpace(Program):
    """p(x_{1:T}, z_{1:T}), linear and Gaussian; log p(x) and p(z | x) are exact.

    ``posterior(x)`` is a distribution over paths with ``mean`` and ``variance`` (the smoothed states); ``encode``
    returns the smoothed means.

    Args:
        features: D, length of one observation.
        length: T, steps of a sequence; pad shorter ones with NaN.
        latents: K, length of the state.
        missing: NaN marks an entry that was not observed.
        objective: What ``fit`` minimises.

    Raises:
        ArgumentError: A size below one.

    References:
        Kalman 1960; Roweis & Ghahramani, A unifying review of linear Gaussian models, 1999.

    Example:
        >>> model = StateSpace(features=3, length=5, latents=2)
        >>> print(model.formula, model.log_prob(torch.zeros(1, 5, 3)).kind, sep=" | ")
        p(x, z) = p(x | z) p(z);  q(z | x) | exact
    """

    recipe = Recipe(steps=500, batch_size=256, lr=2e-2, schedule=Cosine(warmup=10))

    def __init__(
        self,
        features: int,
        length: int,
        latents: int = 2,
        *,
        missing: bool = False,
        objective: Objective = MaximumLikelihood(),
    ) -> None:
        if min(features, length, latents) < 1:
            got = f"features={features}, length={length}, latents={latents}"
            raise ArgumentError(program="StateSpace", got=got, expected="sizes ≥ 1")
        super().__init__((length, features), objective=objective)
        self.latents, self.missing = latents, missing
        self.start = nn.Parameter(torch.zeros(latents))
        self.start_tril = nn.Parameter(torch.eye(latents))
        self.transition = nn.Parameter(PERSISTENCE * torch.eye(latents))
        self.noise_tril = nn.Parameter(torch.eye(latents))
        self.weight = nn.Parameter(torch.randn(features, latents) / latents**0.5)
        self.offset = nn.Parameter(torch.zeros(features))
        self.log_noise = nn.Parameter(torch.zeros(features))

    @property
    def noise(self) -> Tensor:
        """Variances r of the observations, shape (D,)."""
        return self.log_noise.exp()

    def _chain(self, x: Tensor | None = None) -> GaussianChain:
        """Return p(z), or p(z | x) for x (..., T, D)."""
        seen = (
            None if x is None else LinearEmission(self.weight, self.offset, self.noise, x, bool(self.missing))
        )
        roots = (self.start_tril.tril(), self.noise_tril.tril())
        return GaussianChain(self.start, roots[0], self.transition, roots[1], self.event_shape[0], seen)

    def _emit(self, z: Tensor) -> TorchDistribution:
        """Return p(x | z) for paths z (..., T, K)."""
        each = dist.Normal(z @ self.weight.mT + self.offset, self.noise.sqrt())
        return WithMissing(each.to_event(2)) if self.missing else each.to_event(2)

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z)."""
        with self.plate(x, n):
            return pyro.sample("x", self._emit(pyro.sample("z", self._chain())), obs=x)

    def guide(self, x: Tensor) -> Tensor:
        """Declare p(z | x), which is Gaussian and exact."""
        with self.plate(x):
            return pyro.sample("z", self._chain(x))

    def marginal(self, context: Tensor | None = None) -> TorchDistribution:
        """Return p(x), the path summed out by the Kalman filter."""
        return Emitted(self._chain, self._emit, self.event_shape, constraints.real)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start C at the principal axes of the complete observations, in the scale that A and Q give the state."""
        rows = x.flatten(0, 1)
        rows = rows[~rows.isnan().any(-1)]
        if rows.shape[0] <= rows.shape[1]:
            return
        mean, values, axes = principal_axes(rows)
        k = min(self.latents, rows.shape[1])
        stationary = (1 - PERSISTENCE**2) ** -0.5
        self.weight[:, :k].copy_(axes[:, :k] * values[:k].clamp_min(1e-12).sqrt() / stationary)
        self.offset.copy_(mean)
        rest = (rows.var(0, correction=0) - self.weight.square().sum(-1) * stationary**2).clamp_min(0)
        self.log_noise.copy_((rest + 0.05 * values.mean()).log())
