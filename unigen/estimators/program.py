"""ProgramEstimator: a program behind scikit-learn's fit, score_samples, score and sample.

    score_samples(X)_i = log p(x_i),    score(X) = 1/N Σ_i log p(x_i),    in nats

An estimator holds its constructor's arguments; ``fit`` makes a program of the data's width and dtype (float32 or
float64) and leaves it in ``program_``, whose numbers are the estimator's.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data
from torch import Tensor

from unigen.checks import as_tensor, chunks
from unigen.inference.fit import fit
from unigen.inference.record import Record
from unigen.program import Program
from unigen.queries import seeded

CPU = torch.device("cpu")


class ProgramEstimator(DensityMixin, BaseEstimator):
    """Base of the estimators: a subclass says which program in ``_build`` and how it is fitted in ``_options``.

    Attributes:
        program_: The fitted program.
        record_: Record of the fit.
        kind_: What ``score_samples`` gives: ``"exact"``, ``"lower bound"`` …
        n_features_in_: D.
    """

    program_: Program
    record_: Record
    random_state: Any = None

    fewest_features = 1

    # -- for subclasses ------------------------------------------------------------------------------------

    def _build(self, x: Tensor) -> Program:
        """Return the program to fit to data (N, D)."""
        raise NotImplementedError

    def _options(self, x: Tensor) -> dict[str, Any]:
        """Return options of ``unigen.fit``."""
        return {}

    def _describe(self, x: Tensor) -> None:
        """Set the learned attributes."""

    # -- scikit-learn --------------------------------------------------------------------------------------

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: NaN is allowed where the argument ``missing`` says so."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = bool(getattr(self, "missing", False))
        tags.target_tags.required = False
        return tags

    def _rows(self, X: Any, reset: bool = False) -> Tensor:
        allow_nan = bool(getattr(self, "missing", False))
        rows = validate_data(
            self,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            order="C",
            ensure_all_finite="allow-nan" if allow_nan else True,
            ensure_min_samples=2 if reset else 1,
            ensure_min_features=self.fewest_features if reset else 1,
        )
        return as_tensor(rows, type(self).__name__)

    def _next_seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit a program to data.

        Args:
            X: Data, shape (N, D), N ≥ 2.
            y: Ignored.

        Returns:
            The estimator.

        Raises:
            ValueError, TypeError: Bad data or arguments; unigen's errors are among them.
        """
        x = self._rows(X, reset=True)
        self._seed = self._next_seed()
        program, self.record_ = self._fitted(x, self._seed)
        self.program_ = program
        self._describe(x)
        return self

    def _fitted(self, x: Tensor, seed: int) -> tuple[Program, Record]:
        with seeded(seed, CPU):
            program = self._build(x)
        options = {"device": "cpu", "progress": False, **self._options(x)}
        return program, fit(program, x, dtype=x.dtype, seed=seed, **options)

    @property
    def kind_(self) -> str:
        """Kind of the numbers of ``score_samples``."""
        check_is_fitted(self, "program_")
        return str(self.program_.kind)

    def score_samples(self, X: Any) -> np.ndarray:
        """Return log p(x) of each row, in nats.

        Args:
            X: Data, shape (N, D).

        Returns:
            Array (N,), of the kind that ``kind_`` names; a random bound draws the same numbers at every call.
        """
        check_is_fitted(self, "program_")
        x = self._rows(X)
        with seeded(self._seed, self.program_.device):
            return self._log_prob(x).cpu().numpy()

    def _log_prob(self, x: Tensor) -> Tensor:
        return torch.cat([self.program_.log_prob(rows).value for rows in chunks(x)])

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of log p(x) over the rows of X (N, D), in nats an example; y is ignored."""
        return float(self.score_samples(X).mean(dtype=np.float64))

    def sample(self, n_samples: int = 1) -> np.ndarray:
        """Return draws, shape (n_samples, D); an integer ``random_state`` gives the same ones at every call."""
        check_is_fitted(self, "program_")
        return self.program_.sample(n_samples, seed=self._next_seed()).cpu().numpy()
