"""Pareto-smoothed importance weights: the one place that calls ArviZ's ``psislw``, under 0.x and 1.x."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unigen.errors import ArgumentError, NonFiniteError, ShapeError

LEAST = 25  # draws: ArviZ fits the tail to min(S/5, 3√S) of them, and needs five
FLAT = 1e-5  # spread of log-weights, in nats, below which they are constant up to rounding


def _psislw(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return smoothed, normalised log-weights and k of rows (N, S), by whichever ArviZ is installed."""
    arviz: Any = importlib.import_module("arviz")
    if int(arviz.__version__.split(".")[0]) >= 1:
        stats: Any = importlib.import_module("arviz_stats.base").array_stats
        return stats.psislw(log_weights, axis=-1)
    return arviz.psislw(log_weights)


def threshold(draws: int) -> float:
    """Return min(1 − 1 / log₁₀ S, 0.7), the k up to which S draws suffice.

    Args:
        draws: S > 1.

    Returns:
        A number without unit.

    References:
        Vehtari, Simpson, Gelman, Yao & Gabry, Pareto smoothed importance sampling, 2024.

    Example:
        >>> round(threshold(100), 3), threshold(10_000)
        (0.5, 0.7)
    """
    return min(1.0 - 1.0 / math.log10(draws), 0.7)


def smooth(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Fit a generalised Pareto tail to importance weights and replace the tail by its quantiles.

    Args:
        log_weights: log w_s of each problem, shape (S, N), in nats, known up to a constant a column.

    Returns:
        Smoothed log-weights, normalised so that Σ_s w = 1, shape (S, N); and the shape k of the tail, shape (N,),
        without unit: w has 1/k finite moments; −∞ where the weights are constant.

    Raises:
        ShapeError: Not two dimensions.
        ArgumentError: Fewer than 25 draws.
        NonFiniteError: A weight is NaN or infinite, or all of a column vanish.

    References:
        Vehtari et al. 2024.

    Example:
        >>> w, k = smooth(torch.zeros(100, 2))
        >>> k.tolist(), bool((w.exp().sum(0) - 1).abs().max() < 1e-6)
        ([-inf, -inf], True)
    """
    if log_weights.dim() != 2:
        raise ShapeError(site="log_weights", got=tuple(log_weights.shape), expected="(S, N)")
    if log_weights.shape[0] < LEAST:
        raise ArgumentError(site="samples", got=log_weights.shape[0], expected=f"≥ {LEAST}")
    rows = log_weights.detach().cpu().double()
    if (
        bool(rows.isnan().any())
        or bool((rows.amax(0) == -torch.inf).any())
        or bool((rows == torch.inf).any())
    ):
        raise NonFiniteError(
            site="log_weights", got="NaN or infinite weights", expected="finite numbers",
            hint="a guide whose support is the prior's",
        )  # fmt: skip
    flat = rows.amax(0) - rows.amin(0) < FLAT
    smoothed, k = _psislw(np.ascontiguousarray(rows.T.numpy()))
    found, shape = torch.from_numpy(np.array(smoothed)).T, torch.from_numpy(np.array(k, dtype=float))
    plain = rows - rows.logsumexp(0)
    return torch.where(flat, plain, found), torch.where(flat, -torch.inf, shape)
