"""DensityEstimator: any family of densities as a scikit-learn estimator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor

from unigen.errors import ArgumentError
from unigen.estimators.program import ProgramEstimator
from unigen.models.mixture import GaussianMixture
from unigen.names import family
from unigen.program import Program


class DensityEstimator(ProgramEstimator):
    """Any program as an estimator: ``fit``, ``score_samples``, ``score`` and ``sample``.

    Args:
        program: A function from the number of features to a program; or the name of a family, called with that
            number; or a program, of which every fit trains a copy. One full-covariance Gaussian if omitted.
        steps: As in ``unigen.fit``, like the next two.
        batch_size: Examples a batch.
        lr: Learning rate.
        options: Other options of ``unigen.fit``, e.g. ``{"ema": 0.99}``.
        random_state: Seed, ``RandomState`` or None, of the starting values, the fit and the draws.

    Example:
        >>> import numpy as np
        >>> from unigen.models.flow import NSF
        >>> flow = DensityEstimator(lambda features: NSF(features, transforms=1), steps=5, random_state=0)
        >>> x = np.random.randn(100, 2)
        >>> flow.fit(x).score_samples(x).shape, flow.kind_
        ((100,), 'exact')
    """

    def __init__(
        self,
        program: Callable[[int], Program] | Program | str | None = None,
        *,
        steps: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        options: dict[str, Any] | None = None,
        random_state: Any = None,
    ) -> None:
        self.program = program
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.options = options
        self.random_state = random_state

    def _default(self, features: int) -> Program:
        return GaussianMixture(features, 1, floor=1e-6, shrinkage=0.0)

    def _build(self, x: Tensor) -> Program:
        features, given = x.shape[1], self.program
        if given is None:
            return self._default(features)
        if isinstance(given, Program):
            return copy.deepcopy(given)
        made = family(given)(features) if isinstance(given, str) else given(features)
        if not isinstance(made, Program):
            raise ArgumentError(
                program=type(self).__name__,
                site="program",
                got=f"a function that returns {type(made).__name__}",
                expected="a program",
                hint="program=lambda features: ug.NSF(features)",
            )
        return made

    def _options(self, x: Tensor) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "batch_size": self.batch_size,
            "lr": self.lr,
            **(self.options or {}),
        }
