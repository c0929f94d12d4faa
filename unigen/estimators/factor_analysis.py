"""Factor analysis as a scikit-learn estimator."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from unigen.estimators.low_rank import LowRankEstimator, rotate_to_principal
from unigen.models.factor_analysis import FactorAnalysis as Program


class FactorAnalysis(LowRankEstimator):
    """Factor analysis: x ~ N(μ, WWᵀ + diag ψ) by maximum likelihood.

    ``transform`` gives the posterior mean E[z | x].

    Args:
        n_components: q; D − 1 if None.
        tol: EM stops when the log-likelihood of all data rises by less, in nats.
        max_iter: EM steps at most.
        missing: Whether NaN marks a missing entry; all is then said of the entries that are there.
        random_state: Seed, ``RandomState`` or None, of EM's start and the draws.

    Attributes:
        components_: Wᵀ, (q, D), rotated so that WᵀΨ⁻¹W is diagonal, the entry of largest modulus positive.
        noise_variance_: ψ, (D,).
        mean_: μ.
        loglike_: Log-likelihood of all data after each step, in nats.
        n_iter_: Number of steps.
        program_: The fitted ``unigen.FactorAnalysis``.

    Example:
        >>> x = np.random.RandomState(0).randn(500, 3)
        >>> FactorAnalysis(n_components=1, random_state=0).fit(x).noise_variance_.shape
        (3,)
    """

    fewest_features = 2

    def __init__(
        self,
        n_components: int | None = None,
        *,
        tol: float = 1e-2,
        max_iter: int = 1000,
        missing: bool = False,
        random_state: Any = 0,
    ) -> None:
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.missing = missing
        self.random_state = random_state

    def _build(self, x: Tensor) -> Program:
        program = Program(x.shape[1], self._latents(x.shape[1] - 1), missing=self.missing)
        recipe = dataclasses.replace(program.recipe, tolerance=self.tol / x.shape[0])
        setattr(program, "recipe", recipe)  # noqa: B010  (an instance's own, in place of the family's)
        return program

    def _options(self, x: Tensor) -> dict[str, Any]:
        return {"steps": self.max_iter}

    def _describe(self, x: Tensor) -> None:
        program = self.program_
        assert isinstance(program, Program)
        rotate_to_principal(program.weight, program.noise.detach())
        self.components_ = program.weight.detach().numpy().T.copy()
        self.mean_ = program.mean.detach().numpy().copy()
        self.noise_variance_ = program.noise.detach().numpy()
        self.loglike_ = [-loss * x.shape[0] for _, loss in self.record_.history["em"]]
        self.n_iter_ = self.record_.steps
        self.n_components_ = program.latents
        if not self.record_.stopped.startswith("converged"):
            warnings.warn(
                f"FactorAnalysis did not converge in {self.n_iter_} steps: a larger max_iter or tol",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _factor(self) -> np.ndarray:
        return self.components_
