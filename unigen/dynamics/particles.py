"""Weighted particles of a sequential Monte Carlo sampler: weights, effective sample size, systematic resampling.

    W_k = w_k / Σ w,    ESS = 1 / Σ W_k²,    log Z = Σ over resamplings of log (1/K Σ w), and of what is left at the end

Notation: K particles; w their weights since the last resampling, kept as logarithms.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unigen.errors import ArgumentError, NonFiniteError


def effective_size(log_weights: Tensor) -> float:
    """1 / Σ W² of log weights (K,): K where all are equal, 1 where one has all.

    Example:
        >>> effective_size(torch.tensor([0.0, 0.0, -1000.0, -1000.0]))
        2.0
    """
    return float(1.0 / torch.softmax(log_weights.double(), 0).square().sum())


def systematic(log_weights: Tensor, n: int | None = None) -> Tensor:
    """Draw n ancestors so that k stands n W_k times, rounded up or down: n W_k times in expectation.

    Args:
        log_weights: Shape (K,).
        n: Number of ancestors; K if omitted.

    Returns:
        Indices, in ascending order, (n,).

    References:
        Kitagawa 1996; Douc, Cappé & Moulines 2005, Comparison of resampling schemes for particle filtering.

    Example:
        >>> systematic(torch.log(torch.tensor([0.5, 0.25, 0.25]))).shape
        torch.Size([3])
    """
    n = log_weights.shape[0] if n is None else n
    heights = torch.cumsum(torch.softmax(log_weights.double(), 0), 0)
    points = (
        torch.arange(n, device=heights.device) + torch.rand((), dtype=torch.float64, device=heights.device)
    ) / n
    return torch.searchsorted(heights, points).clamp_max(log_weights.shape[0] - 1)


def check_particles(program: str, particles: int, threshold: float) -> None:
    """Refuse settings with which no particle system runs.

    Raises:
        ArgumentError: particles < 2, or a threshold outside [0, 1].
    """
    if isinstance(particles, bool) or not isinstance(particles, int) or particles < 2:
        raise ArgumentError(
            program=program, site="particles", got=particles, expected="an integer, at least 2"
        )
    if not 0.0 <= threshold <= 1.0:
        raise ArgumentError(program=program, site="threshold", got=threshold, expected="a fraction in [0, 1]")


class Particles:
    """The weights of K particles on their way, and what is learned from them.

    Args:
        number: K.
        like: A tensor for device.

    Attributes:
        log_weights: Since the last resampling, (K,), float64.
        ess: Effective sample sizes, one a weighing, each before it led to a resampling.
        resampled: Number of resamplings.
    """

    def __init__(self, number: int, like: Tensor) -> None:
        self.log_weights = torch.zeros(number, dtype=torch.float64, device=like.device)
        self.ess: list[float] = []
        self.resampled = 0
        self._log_z = 0.0
        self._founder = torch.arange(number, device=like.device)

    def weigh(self, log_factor: Tensor) -> float:
        """Multiply the weights by factors, (K,) as logarithms, and return the effective sample size.

        Raises:
            NonFiniteError: No particle has a finite weight.
        """
        log_weights = self.log_weights + log_factor.double()
        self.log_weights = torch.where(log_weights.isnan(), -math.inf, log_weights)
        size = effective_size(self.log_weights)
        if not math.isfinite(size):
            raise NonFiniteError(
                "no particle has a finite weight",
                site="x",
                hint="more noise in the observation, or more steps",
            )
        self.ess.append(size)
        return size

    def resample(self, threshold: float = 1.0) -> Tensor | None:
        """Return the ancestors of the next generation, (K,), and make weights equal; None while ESS ≥ threshold K."""
        k = self.log_weights.shape[0]
        if self.ess[-1] >= threshold * k:
            return None
        ancestors = systematic(self.log_weights)
        self._log_z += float(torch.logsumexp(self.log_weights, 0)) - math.log(k)
        self.log_weights, self._founder = torch.zeros_like(self.log_weights), self._founder[ancestors]
        self.resampled += 1
        return ancestors

    def log_normaliser(self) -> tuple[Tensor, Tensor]:
        """Return log Z, (1,), of which exp is unbiased, and its standard error, (1,).

        The squared error is Σ_f (Σ of W over the descendants of founder f)² − 1/K: without resampling the delta
        method. It is of use while some founders are left, and near 1 when one is.

        References:
            Chan & Lai 2013, A general theory of particle filters; Lee & Whiteley 2018, Variance estimation in the
            particle filter.
        """
        k = self.log_weights.shape[0]
        value = self._log_z + torch.logsumexp(self.log_weights, 0) - math.log(k)
        weights = torch.softmax(self.log_weights, 0)
        shares = torch.zeros_like(weights).index_add(0, self._founder, weights)
        return value.reshape(1), (shares.square().sum() - 1.0 / k).clamp_min(0.0).sqrt().reshape(1)


BISECTIONS = 40


def largest_rise(log_ratio: Tensor, most: float, threshold: float) -> float:
    """Return the largest change of an inverse temperature, at most ``most``, that leaves so many particles effective.

    Args:
        log_ratio: log f_1 / f_0 at the particles, (K,).
        most: What is left of the way.
        threshold: Least ESS / K.

    References:
        Jasra et al. 2011, Inference for Lévy-driven stochastic volatility models via adaptive sequential Monte Carlo.

    Example:
        >>> largest_rise(torch.zeros(4), 1.0, 0.5)
        1.0
    """
    wanted, log_ratio = threshold * log_ratio.shape[0], log_ratio.double()
    if effective_size(most * log_ratio) >= wanted:
        return most
    low, high = 0.0, most
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if effective_size(middle * log_ratio) >= wanted else (low, middle)
    return high


def check_tempering(program: str, particles: int, threshold: float, moves: int, leapfrog: int) -> None:
    """Refuse settings with which no tempered particle system moves.

    Raises:
        ArgumentError: particles < 2, a threshold not inside (0, 1), or no moves.
    """
    check_particles(program, particles, threshold)
    for name, value in (("moves", moves), ("leapfrog", leapfrog)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArgumentError(program=program, site=name, got=value, expected="a positive integer")
    if not 0.0 < threshold < 1.0:
        raise ArgumentError(program=program, site="threshold", got=threshold, expected="inside (0, 1)")
