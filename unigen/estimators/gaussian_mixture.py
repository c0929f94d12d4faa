"""The mixture of Gaussians as a scikit-learn estimator."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from unigen.checks import chunks
from unigen.errors import ArgumentError
from unigen.estimators.program import ProgramEstimator
from unigen.inference.record import Record
from unigen.models.mixture import GaussianMixture as Program

COVARIANCES = {"full": "full", "tied": "tied", "diag": "diagonal"}


class GaussianMixture(ProgramEstimator):
    """Mixture of Gaussians by EM from k-means, with the names of ``sklearn.mixture.GaussianMixture``.

    Args:
        n_components: K.
        covariance_type: ``"full"``, ``"tied"`` or ``"diag"``.
        tol: EM stops when the log-likelihood rises by less, in nats an example.
        reg_covar: Added to the diagonal of every covariance; less than the mean variance of the features.
        max_iter: EM steps at most.
        n_init: Number of starts, of which the likeliest end stays.
        random_state: Seed, ``RandomState`` or None, of the starts and the draws.

    Attributes:
        weights_: π, (K,).
        means_: μ_k, (K, D).
        covariances_: Σ_k: (K, D, D) if full, (D, D) if tied, (K, D) if diagonal.
        converged_: Whether EM stopped by ``tol``.
        n_iter_: Steps of the start that stayed.
        lower_bound_: Its log-likelihood, in nats an example.
        program_: The fitted ``unigen.GaussianMixture``.

    Example:
        >>> x = np.concatenate([np.random.RandomState(0).randn(50, 2) + c for c in (0, 9)])
        >>> GaussianMixture(2, random_state=0).fit_predict(x)[[0, -1]].tolist() in ([0, 1], [1, 0])
        True
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.random_state = random_state

    def _build(self, x: Tensor) -> Program:
        if self.covariance_type not in COVARIANCES:
            raise ArgumentError(
                program="GaussianMixture",
                site="covariance_type",
                got=self.covariance_type,
                expected=f"one of {tuple(COVARIANCES)}",
            )
        variance = float(x.var(0, correction=0).mean())
        if not 0 <= self.reg_covar < variance:
            raise ArgumentError(
                program="GaussianMixture",
                site="reg_covar",
                got=self.reg_covar,
                expected=f"at least 0 and less than the mean variance of the data, {variance:.3g}",
                hint="rescale the data",
            )
        program = Program(
            x.shape[1],
            self.n_components,
            covariance=COVARIANCES[self.covariance_type],
            floor=self.reg_covar / variance,
            shrinkage=0.0,
        )
        recipe = dataclasses.replace(program.recipe, tolerance=self.tol)
        setattr(program, "recipe", recipe)  # noqa: B010  (an instance's own, in place of the family's)
        return program

    def _options(self, x: Tensor) -> dict[str, Any]:
        return {"steps": self.max_iter}

    def _fitted(self, x: Tensor, seed: int) -> tuple[Program, Record]:
        if self.n_init < 1:
            raise ArgumentError(program="GaussianMixture", site="n_init", got=self.n_init, expected="≥ 1")
        found = [super(GaussianMixture, self)._fitted(x, seed + i) for i in range(self.n_init)]
        return min(found, key=lambda pair: pair[1].history["em"][-1][1])  # pyright: ignore[reportReturnType]

    def _describe(self, x: Tensor) -> None:
        program = self.program_
        assert isinstance(program, Program)
        with torch.no_grad():
            self.weights_ = program.logits.double().softmax(0).numpy()
            self.means_ = program.means.double().numpy()
            if self.covariance_type == "diag":
                self.covariances_ = program.log_scales.double().mul(2).exp().numpy()
            else:
                root = program.scale_tril.double()
                self.covariances_ = (root @ root.mT).numpy()
        if self.covariance_type == "tied":
            self.covariances_ = self.covariances_[0]
        self.converged_ = self.record_.stopped.startswith("converged")
        self.n_iter_ = self.record_.steps
        self.lower_bound_ = -self.record_.history["em"][-1][1]
        if not self.converged_:
            warnings.warn(
                f"GaussianMixture did not converge in {self.n_iter_} steps: a larger max_iter or tol",
                ConvergenceWarning,
                stacklevel=3,
            )

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the responsibilities p(z = k | x), shape (N, K)."""
        check_is_fitted(self, "program_")
        x = self._rows(X)
        with torch.no_grad():
            return torch.cat([self.program_.posterior(rows).probs for rows in chunks(x)]).numpy()  # pyright: ignore[reportAttributeAccessIssue]

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest component of each row, shape (N,)."""
        return self.predict_proba(X).argmax(1)

    def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:
        """Fit, and return the likeliest component of each row, shape (N,)."""
        return self.fit(X).predict(X)

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return draws (n_samples, D) and the components they come from (n_samples,)."""
        check_is_fitted(self, "program_")
        rng = np.random.RandomState(self._next_seed())
        z = rng.choice(self.weights_.shape[0], n_samples, p=self.weights_ / self.weights_.sum())
        with torch.no_grad():
            root = self.program_.scale_tril.double().expand(self.weights_.shape[0], -1, -1).numpy()  # pyright: ignore[reportCallIssue]
        noise = rng.standard_normal((n_samples, self.means_.shape[1], 1))
        return self.means_[z] + (root[z] @ noise)[..., 0], z

    def _n_parameters(self) -> int:
        k, d = self.means_.shape
        spread = {"full": k * d * (d + 1) // 2, "tied": d * (d + 1) // 2, "diag": k * d}
        return spread[self.covariance_type] + k * d + k - 1

    def bic(self, X: Any) -> float:
        """Return the Bayesian information criterion −2 log p(X) + P log N, P the number of parameters."""
        n = len(X)
        return -2 * self.score(X) * n + self._n_parameters() * math.log(n)

    def aic(self, X: Any) -> float:
        """Return Akaike's information criterion −2 log p(X) + 2P."""
        return -2 * self.score(X) * len(X) + 2 * self._n_parameters()
