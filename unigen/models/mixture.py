"""Mixture of Gaussians.

    z ~ Categorical(π_1 … π_K),    x | z ~ N(μ_z, Σ_z),    p(x) = Σ_k π_k N(x; μ_k, Σ_k),
    p(z = k | x) = r_k(x) = π_k N(x; μ_k, Σ_k) / p(x)

The EM step replaces π, μ, Σ by moments weighted by r. Σ = LLᵀ, L triangular, its diagonal stored as logarithms.
"""

from __future__ import annotations

import pyro
import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from unigen.distributions.clusters import check_options, factorise, k_means, moments, soft_clusters
from unigen.distributions.dense_normal import DenseNormal
from unigen.distributions.linear_gaussian import check_weights
from unigen.errors import ShapeError
from unigen.objectives.likelihood import EM
from unigen.objectives.objective import Objective
from unigen.program import Program


class GaussianMixture(Program):
    """p(x, z) = π_z N(x; μ_z, Σ_z) with the exact responsibilities as the guide; the density is exact.

    Components start from k-means++ and a few k-means iterations, in ``initialise`` or the first EM step.

    Args:
        features: D, length of x.
        components: K.
        covariance: ``"full"``, ``"tied"`` (one Σ for all) or ``"diagonal"``.
        floor: Added to the diagonal of every covariance, as a fraction of the mean variance of the data. With 0 a
            component may collapse onto a point.
        shrinkage: ν, in examples a feature: each full Σ_k is averaged with the pooled covariance as if νD examples
            had it (an inverse-Wishart prior). With 0, and a floor of 0, maximum likelihood.
        objective: How ``fit`` finds the parameters; they may also be trained by gradient.

    Raises:
        ArgumentError: components < 1, another word for the covariance, or a negative floor or shrinkage.

    References:
        Dempster, Laird & Rubin 1977; Fraley & Raftery, Bayesian regularization for mixtures, 2007.

    Example:
        >>> mixture = GaussianMixture(features=2, components=3)
        >>> for _ in range(5):
        ...     mixture.em_step(torch.randn(100, 2))
        >>> mixture.posterior(torch.zeros(4, 2)).probs.shape
        torch.Size([4, 3])
    """

    seeded: Tensor

    def __init__(
        self,
        features: int,
        components: int = 10,
        *,
        covariance: str = "full",
        floor: float = 1e-3,
        shrinkage: float = 0.15,
        objective: Objective = EM(),
    ) -> None:
        check_options(components, covariance, shrinkage, floor, "GaussianMixture")
        super().__init__((features,), objective=objective)
        self.components, self.covariance = components, covariance
        self.floor, self.shrinkage = floor, shrinkage
        groups = 1 if covariance == "tied" else components
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, features))
        self.log_scales = nn.Parameter(torch.zeros(groups, features))
        if covariance != "diagonal":
            self.lower = nn.Parameter(torch.zeros(groups, features, features))
        self.register_buffer("seeded", torch.zeros(1, dtype=torch.bool))

    @property
    def scale_tril(self) -> Tensor:
        """L with Σ_k = L_k L_kᵀ, shape (K, D, D), or (1, D, D) if tied."""
        diagonal = torch.diag_embed(self.log_scales.exp())
        return diagonal if self.covariance == "diagonal" else self.lower.tril(-1) + diagonal

    def _component(self, index: Tensor | None = None) -> TorchDistribution:
        """Return N(μ_k, Σ_k) for every k, or for the k of an index."""
        means = self.means if index is None else self.means[index.long()]
        pick = slice(None) if index is None or self.covariance == "tied" else index.long()
        if self.covariance == "diagonal":
            return dist.Normal(means, self.log_scales[pick].exp()).to_event(1)
        return DenseNormal(means, scale_tril=self.scale_tril[pick].expand(*means.shape, means.shape[-1]))

    def _joint(self, x: Tensor) -> Tensor:
        """Return log π_k N(x; μ_k, Σ_k) up to a constant, shape (N, K)."""
        return self._component().log_prob(x[..., None, :]) + self.logits

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z)."""
        with self.plate(x, n):
            z = pyro.sample("z", dist.Categorical(logits=self.logits))
            return pyro.sample("x", self._component(z), obs=x)

    def guide(self, x: Tensor) -> Tensor:
        """Declare p(z | x), the responsibilities, which are exact."""
        with self.plate(x):
            return pyro.sample("z", dist.Categorical(logits=self._joint(x)))

    def marginal(self, context: Tensor | None = None) -> TorchDistribution:
        """Return p(x) = Σ_k π_k N(x; μ_k, Σ_k)."""
        return dist.MixtureSameFamily(dist.Categorical(logits=self.logits), self._component())

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Place the components by k-means++ and k-means on the data (N, D); N ≥ K.

        Raises:
            ShapeError: Fewer examples than components.
        """
        k, got = self.components, f"{x.shape[0]} examples"
        if x.shape[0] < k:
            raise ShapeError(program=self.name, site="x", got=got, expected=f"at least K = {k}")
        self._maximise(x.double(), soft_clusters(k_means(x.double(), k), k, 0.0))
        self.seeded.fill_(True)

    @torch.no_grad()
    def em_step(self, x: Tensor, weights: Tensor | None = None) -> None:
        """Replace the parameters by the moments of the data weighted by the responsibilities.

        Args:
            x: All data, shape (N, D).
            weights: How often each example counts, shape (N,), ≥ 0; once if omitted.

        Raises:
            ShapeError, ArgumentError: Fewer examples than components, or bad weights.
        """
        w = check_weights(weights, x.shape[0], self.name)
        if not bool(self.seeded):
            self.initialise(x)
        r = self._joint(x).double().softmax(-1)
        self._maximise(x.double(), r if w is None else r * w[:, None])

    def _maximise(self, x: Tensor, r: Tensor) -> None:
        """Write the weights, means and covariances of the data under responsibilities r (N, K)."""
        weights, means, spread = moments(x, r, self.covariance, self.shrinkage, self.floor)
        log_scales, lower = factorise(spread)
        if self.covariance != "diagonal":
            self.lower.copy_(lower)
        self.log_scales.copy_(log_scales)
        self.logits.copy_(weights.log())
        self.means.copy_(means)
