"""LatentEstimator: transform is the posterior mean of the latent vector, inverse_transform the decoder's mean.

transform(X)_i = E[z | x_i],    inverse_transform(Z)_i = E[x | z_i]
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted
from torch import Tensor

from unigen.checks import as_tensor, chunks
from unigen.estimators.density import DensityEstimator
from unigen.estimators.program import ProgramEstimator
from unigen.models.ppca import PPCA
from unigen.program import Program
from unigen.queries import first_latent, seeded


class LatentTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ProgramEstimator):
    """Base of the estimators whose program has a latent vector; its outputs are ``class0``, ``class1``, …."""

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: float32 in, float32 out."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return first_latent(self.program_).event_shape.numel()

    def transform(self, X: Any) -> np.ndarray:
        """Return the posterior mean E[z | x] of each row.

        Args:
            X: Data, shape (N, D).

        Returns:
            Array (N, q); a latent of more dimensions is flattened.
        """
        check_is_fitted(self, "program_")
        x = self._rows(X)
        with seeded(self._seed, self.program_.device):
            return torch.cat([self._encode(rows).flatten(1) for rows in chunks(x)]).cpu().numpy()

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Return E[x | z] of each row z of X (N, q), shape (N, D)."""
        check_is_fitted(self, "program_")
        rows = check_array(X, dtype=[np.float64, np.float32], input_name="X")  # pyright: ignore[reportArgumentType]
        z = as_tensor(rows, type(self).__name__).to(self.program_.dtype)
        if z.shape[1] == self._n_features_out:
            z = z.reshape(-1, *first_latent(self.program_).event_shape)
        with seeded(self._seed, self.program_.device):
            return torch.cat([self._decode(part) for part in chunks(z)]).cpu().numpy()

    def _encode(self, x: Tensor) -> Tensor:
        return self.program_.encode(x)

    def _decode(self, z: Tensor) -> Tensor:
        return self.program_.decode(z)


class LatentEstimator(LatentTransformer, DensityEstimator):
    """A ``DensityEstimator`` for families with a latent vector: it also transforms.

    Args:
        program: As for ``DensityEstimator``; PPCA with one latent if omitted.
        steps: As there.
        batch_size: As there.
        lr: As there.
        options: As there.
        random_state: As there.

    Example:
        >>> from unigen.models.vae import VAE
        >>> estimator = LatentEstimator(lambda features: VAE(features, 2), steps=5, random_state=0)
        >>> estimator.fit_transform(np.random.randn(20, 3)).shape
        (20, 2)
    """

    @property
    def fewest_features(self) -> int:
        """Two for PPCA."""
        return 2 if self.program is None else 1

    def _default(self, features: int) -> Program:
        return PPCA(features, 1)
