"""PCA as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unigen.distributions.dense_normal import DenseNormal
from unigen.distributions.low_rank import LowRankNormal
from unigen.distributions.principal import principal_axes
from unigen.errors import NoDensityError
from unigen.estimators.low_rank import LowRankEstimator
from unigen.models.pca import PCA as Program

DEGENERATE = 1e-12  # smallest variance relative to the largest that is not rounding


class PCA(LowRankEstimator):
    """PCA with the numbers of ``sklearn.decomposition.PCA``: variances divided by N − 1, and so its score.

    As there, ``score_samples`` is the log-density of the probabilistic model N(μ, U(Λ − σ²I)Uᵀ + σ²I) of these
    variances; the maximum-likelihood one is ``PPCA``'s.

    Args:
        n_components: q; min(N, D) if None; a fraction between 0 and 1 takes as many as explain that share.
        whiten: Whether ``transform`` divides each component by its standard deviation.
        random_state: Seed, ``RandomState`` or None, of the draws.

    Attributes:
        components_: Principal axes, orthonormal rows, (q, D), the entry of largest modulus positive.
        explained_variance_: λ_1 … λ_q, (q,).
        explained_variance_ratio_: Their share of the total variance.
        singular_values_: √((N − 1) λ).
        noise_variance_: Mean of the variances left out, of those that are not zero by count: min(N, D) − q.
        mean_: μ.
        program_: The fitted ``unigen.PCA``, whose variances are divided by N.

    Example:
        >>> x = np.random.RandomState(0).randn(500, 3) * [3.0, 1.0, 1.0]
        >>> PCA(n_components=2, whiten=True).fit_transform(x).std(0, ddof=1).round(6).tolist()
        [1.0, 1.0]
    """

    def __init__(
        self, n_components: float | None = None, *, whiten: bool = False, random_state: Any = None
    ) -> None:
        self.n_components = n_components
        self.whiten = whiten
        self.random_state = random_state

    def _build(self, x: Tensor) -> Program:
        share, largest = self.n_components, min(x.shape)
        if not isinstance(share, float) or not 0 < share < 1:
            return Program(x.shape[1], self._latents(largest))
        values = principal_axes(x, count=1)[1] if largest < 4000 else principal_axes(x)[1]
        explained = (values.cumsum(0) / values.sum()).numpy()
        return Program(x.shape[1], min(int(np.searchsorted(explained, share, side="right")) + 1, largest))

    def _describe(self, x: Tensor) -> None:
        program, (n, d) = self.program_, x.shape
        assert isinstance(program, Program)
        unbiased = n / (n - 1)
        self.components_ = program.components.numpy().copy()
        self.mean_ = program.mean.numpy().copy()
        self.explained_variance_ = program.explained_variance.numpy() * unbiased
        self.explained_variance_ratio_ = program.explained_variance_ratio.numpy()
        self.singular_values_ = np.sqrt(program.explained_variance.numpy() * n)
        self.n_components_ = program.latents
        left = min(n, d) - program.latents
        self.noise_variance_ = float(program.residual_variance) * unbiased / left if left else 0.0

    @property
    def kind_(self) -> str:
        """Kind of the numbers of ``score_samples``."""
        return "exact"

    def _scale(self) -> Tensor:
        """Standard deviations that whitening divides by, none of them zero."""
        scale = torch.as_tensor(self.explained_variance_).sqrt().to(self.program_.dtype)
        return scale.clamp_min(torch.finfo(scale.dtype).eps)

    def _encode(self, x: Tensor) -> Tensor:
        z = super()._encode(x)
        return z / self._scale() if self.whiten else z

    def _decode(self, z: Tensor) -> Tensor:
        return super()._decode(z * self._scale() if self.whiten else z)

    def _factor(self) -> np.ndarray:
        spread = np.clip(self.explained_variance_ - self.noise_variance_, 0, None)
        return self.components_ * np.sqrt(spread)[:, None]

    def _log_prob(self, x: Tensor) -> Tensor:
        mean, q = torch.as_tensor(self.mean_), self.n_components_
        smallest = self.noise_variance_ if q < mean.shape[0] else self.explained_variance_[-1]
        if not smallest > DEGENERATE * self.explained_variance_[0]:
            raise NoDensityError(
                f"the data lie in a subspace of {q} dimensions, so that x has no density",
                program="PCA",
                hint="fewer n_components, or more examples",
            )
        x = x.to(mean.dtype)
        if q < mean.shape[0]:
            weight = torch.as_tensor(self._factor().T, dtype=mean.dtype)
            return LowRankNormal(mean, weight, torch.full_like(mean, self.noise_variance_)).log_prob(x)
        covariance = torch.as_tensor(self.get_covariance(), dtype=mean.dtype)
        return DenseNormal(mean, scale_tril=torch.linalg.cholesky(covariance)).log_prob(x)
