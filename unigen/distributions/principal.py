"""Principal axes: mean, eigenvalues and eigenvectors of the sample covariance."""

from __future__ import annotations

import torch
from torch import Tensor


def principal_axes(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (mean (D,), eigenvalues (D,) falling, axes (D, D) in columns) of the covariance of x divided by N.

    Computed in float64; an axis has its entry of largest modulus positive.

    Args:
        x: Data, shape (N, D).
    """
    rows = x.double()
    mean = rows.mean(0)
    values, vectors = torch.linalg.eigh((rows - mean).mT @ (rows - mean) / x.shape[0])
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return mean, values, vectors * largest.sign()
