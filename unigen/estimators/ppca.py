"""PPCA as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from unigen.estimators.low_rank import LowRankEstimator, rotate_to_principal
from unigen.models.ppca import PPCA as Program


class PPCA(LowRankEstimator):
    """Probabilistic PCA: x ~ N(μ, WWᵀ + σ²I) by maximum likelihood, the covariance divided by N.

    ``transform`` gives the posterior mean M⁻¹Wᵀ(x − μ), M = WᵀW + σ²I, which for small σ² is PCA's whitened one.

    Args:
        n_components: q; if None the most that the data determine, min(N − 2, D − 1).
        missing: Whether NaN marks a missing entry; parameters are then found by EM and all is said of the entries
            that are there.
        random_state: Seed, ``RandomState`` or None, of EM's start and the draws.

    Attributes:
        components_: Principal axes, orthonormal rows, (q, D), the entry of largest modulus positive.
        explained_variance_: Eigenvalues λ_1 … λ_q of WWᵀ + σ²I, (q,).
        explained_variance_ratio_: Their share of its trace.
        noise_variance_: σ².
        mean_: μ.
        program_: The fitted ``unigen.PPCA``, its W = U(Λ − σ²I)^½.

    Example:
        >>> x = np.random.RandomState(0).randn(500, 3) * [3.0, 1.0, 1.0]
        >>> PPCA(n_components=1).fit(x).transform(x).shape
        (500, 1)
    """

    fewest_features = 2

    def __init__(
        self, n_components: int | None = None, *, missing: bool = False, random_state: Any = None
    ) -> None:
        self.n_components = n_components
        self.missing = missing
        self.random_state = random_state

    def _build(self, x: Tensor) -> Program:
        n, d = x.shape
        return Program(d, self._latents(min(n - 2, d - 1)), missing=self.missing)

    def _describe(self, x: Tensor) -> None:
        program = self.program_
        assert isinstance(program, Program)
        rotate_to_principal(program.weight, program.variance.expand_as(program.mean))
        weight = program.weight.detach().numpy()
        squares = np.square(weight).sum(0)
        self.components_ = (weight / np.sqrt(np.where(squares > 0, squares, 1))).T
        self.mean_ = program.mean.detach().numpy().copy()
        self.noise_variance_ = program.variance.item()
        self.explained_variance_ = squares + self.noise_variance_
        total = squares.sum() + self.noise_variance_ * x.shape[1]
        self.explained_variance_ratio_ = self.explained_variance_ / total
        self.n_components_ = program.latents

    def _factor(self) -> np.ndarray:
        return self.program_.get_parameter("weight").detach().numpy().T
