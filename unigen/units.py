"""Units of likelihood: nats, bits a dimension, perplexity, and what a change of variables adds.

Notation: log p in nats of one example of D dimensions (or tokens). Data y that were made from integers k as
y = (k + u) / L, u uniform on [0, 1)^D, have a density p(y) on the unit cube, and the integers a mass P(k):

    P(k) = L^{−D} E_u p((k + u) / L),    log P(k) ≥ E_u log p(y) − D log L,
    bits/dim = −(log p(y) − D log L) / (D log 2),    perplexity = exp(−log p / tokens).

For z = f(y) with f elementwise, log p(y) = log p(z) + Σ_i log |dz_i / dy_i|; the corrections here are those sums.
Functions of log p take floats or tensors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from unigen.errors import ArgumentError

if TYPE_CHECKING:
    from unigen.logprob import Kind

Number = TypeVar("Number", float, Tensor)
LOG2 = math.log(2.0)


@dataclass(frozen=True)
class Mean:
    """The mean of a LogProb over N examples.

    Args:
        value: The mean, in the unit named by ``unit``.
        kind: What each of the averaged numbers is.
        stderr: Standard error over the examples, sd/√N (None for N = 1); Monte Carlo noise is part of it.
        monte_carlo: The part of it that more samples would remove, √(Σ seᵢ²)/N, or None if there is none.
        n: Number of examples.
        unit: ``"nats"``, ``"bits/dim"`` or ``"perplexity"``.
    """

    value: float
    kind: Kind
    stderr: float | None
    monte_carlo: float | None
    n: int
    unit: str = "nats"

    def __float__(self) -> float:
        """Return the bare number."""
        return self.value

    def __str__(self) -> str:
        """Return e.g. ``48.71 ± 0.62 nats (exact, n=250)``."""
        error = "" if self.stderr is None else f" ± {self.stderr:.3g}"
        return f"{self.value:.6g}{error} {self.unit} ({self.kind}, n={self.n})"

    def mapped(self, value: float, slope: float, kind: Kind, unit: str) -> Mean:
        """Return a function of this mean in another unit; its errors are these times the slope of the function."""
        stderr, noise = (None if e is None else e * slope for e in (self.stderr, self.monte_carlo))
        return Mean(value, kind, stderr, noise, self.n, unit)


def check_dims(dims: int | None, levels: float = 1) -> int:
    """Return D, or refuse what cannot be divided by.

    Raises:
        ArgumentError: D is unknown or below one, or L < 1.
    """
    if dims is None or dims < 1:
        raise ArgumentError("the number of dimensions is unknown", got=dims, hint="bits_per_dim(dims=64)")
    if levels < 1:
        raise ArgumentError(site="levels", got=levels, expected="a positive integer")
    return dims


def bits(nats: Number) -> Number:
    """Return nats / log 2.

    Example:
        >>> round(bits(1.0), 6)
        1.442695
    """
    return nats / LOG2


def nats(bits: Number) -> Number:
    """Return bits · log 2; the inverse of ``bits``."""
    return bits * LOG2


def log_mass(log_p: Number, dims: int, levels: float) -> Number:
    """Return log p(y) − D log L: in expectation over the noise, a lower bound of log P(k).

    Args:
        log_p: log p(y) in nats, y = (k + u) / L.
        dims: D.
        levels: L, the factor by which dequantised integers were divided; 1 where they were not.
    """
    return log_p - dims * math.log(levels)


def bits_per_dim(log_p: Number, dims: int, levels: float = 1) -> Number:
    """Return −(log p(y) − D log L) / (D log 2), bits a dimension of the integers.

    Args:
        log_p: log p(y) in nats.
        dims: D.
        levels: L; 1 for masses, and for the differential code length of a density.

    Example:
        >>> bits_per_dim(0.0, dims=64, levels=16)  # uniform over 16 levels
        4.0
    """
    return -bits(log_mass(log_p, dims, levels)) / dims


def log_p_of_bits(bits_per_dim: Number, dims: int, levels: float = 1) -> Number:
    """Return log p(y) in nats from bits a dimension; the inverse of ``bits_per_dim``."""
    return dims * math.log(levels) - nats(bits_per_dim) * dims


def perplexity(log_p: Number, tokens: Number | int = 1) -> Number:
    """Return exp(−log p / tokens): how many equally likely tokens would be as hard to guess.

    Args:
        log_p: log-probability of all tokens together, in nats.
        tokens: How many there are.

    Example:
        >>> round(perplexity(-6.931472, tokens=10), 4)  # ten fair coins
        2.0
    """
    each = -log_p / tokens
    return torch.exp(each) if isinstance(each, Tensor) else math.exp(each)  # pyright: ignore[reportReturnType]


def standardise_correction(scale: Tensor) -> Tensor:
    """Return Σ_i log |dz_i/dy_i| = −Σ_i log s_i for z = (y − m) / s.

    Args:
        scale: s > 0, shape (..., D).

    Returns:
        Shape (...), in nats: what is added to log p(z) to give log p(y).

    Raises:
        ArgumentError: A scale is not positive.
    """
    if not bool((scale > 0).all()):
        raise ArgumentError(site="scale", got=f"a smallest value of {scale.min().item():g}", expected="> 0")
    return -scale.log().sum(-1)


def logit_correction(y: Tensor, margin: float = 0.0) -> Tensor:
    """Return Σ_i log |dz_i/dy_i| for z = logit(v), v = α + (1 − 2α) y.

        log |dz/dy| = log(1 − 2α) − log v − log(1 − v)

    Args:
        y: Shape (..., D), in (0, 1), or [0, 1] for α > 0.
        margin: α in [0, ½); 1e-6 for MNIST and 0.05 for CIFAR-10 in the tables of MAF.

    Returns:
        Shape (...), in nats: what is added to log p(z) to give log p(y).

    Raises:
        ArgumentError: α or a value lies outside its range.

    References:
        Dinh, Sohl-Dickstein & Bengio, Real NVP, 2017; Papamakarios, Pavlakou & Murray, MAF, 2017, appendix E.
    """
    if not 0 <= margin < 0.5:
        raise ArgumentError(site="margin", got=margin, expected="0 ≤ α < ½")
    v = margin + (1 - 2 * margin) * y
    if not bool(((v > 0) & (v < 1)).all()):
        raise ArgumentError(
            site="y", got=f"values in [{y.min().item():g}, {y.max().item():g}]", expected="(0, 1)"
        )
    return (math.log(1 - 2 * margin) - v.log() - torch.log1p(-v)).sum(-1)
