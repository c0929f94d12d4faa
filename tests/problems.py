"""The oracles: closed forms, quadratures and enumerations as plain functions that share no code with unigen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import integrate, stats

SPECTRUM = (4.0, 2.0, 1.0, 0.5, 0.5)


def spectrum_data(eigenvalues: Sequence[float] = SPECTRUM, mean: float = 0.0) -> torch.Tensor:
    """Points whose covariance (divided by N) is exactly diag(eigenvalues), float64, shape (2D, D)."""
    d = len(eigenvalues)
    points = np.diag(np.sqrt(d * np.asarray(eigenvalues, float)))
    return torch.from_numpy(np.concatenate([points, -points]) + mean)


def ppca_log_likelihood(eigenvalues: Sequence[float], q: int, variance: float | None = None) -> float:
    """Mean log-likelihood of PPCA at its optimum in W (and in σ², unless given) from the eigenvalues.

    A direction is used only if λ > σ² (Lucas et al. 2019); the model covariance is max(λ, σ²) there, σ² elsewhere.
    """
    lam = np.sort(np.asarray(eigenvalues, float))[::-1]
    sigma2 = lam[q:].mean() if variance is None else variance
    model = np.where(np.arange(lam.size) < q, np.maximum(lam, sigma2), sigma2)
    return -0.5 * float(np.sum(np.log(2 * np.pi * model) + lam / model))


def gaussian_log_density(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """log N(x; mean, covariance) by SciPy, with a dense covariance."""
    return np.atleast_1d(stats.multivariate_normal(mean, covariance).logpdf(x))


def gaussian_posterior(
    weight: np.ndarray, noise: np.ndarray, mean: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (N, q) and covariance (q, q) of z | x for x = Wz + μ + ε, by conditioning the joint Gaussian."""
    total = weight @ weight.T + np.diag(noise)
    gain = weight.T @ np.linalg.inv(total)
    return (x - mean) @ gain.T, np.eye(weight.shape[1]) - gain @ weight


def toy_evidence(x: float = 1.0) -> float:
    """log p(x) of z ~ N(0, 1), x | z ~ N(z, 1): −1.515512 at x = 1."""
    return -0.25 * x * x - 0.5 * math.log(4 * math.pi)


def toy_bound(k: int, x: float = 1.0) -> float:
    """L_k of the toy with the prior as proposal, by ∫ (e^{−t} − φ(t)^k) dt/t − log k, φ(t) = E exp(−t N(x; z, 1))."""
    node, weight = np.polynomial.legendre.leggauss(400)
    z, dz = 11 * node, 11 * weight
    density = stats.norm.pdf(z) * dz
    w = stats.norm.pdf(x, z)

    def integrand(u: float) -> float:
        t = math.exp(u)
        return math.exp(-t) - float(density @ np.exp(-t * w)) ** k

    value, error = integrate.quad(integrand, -38, 50, limit=2000, epsabs=1e-10, epsrel=1e-10)
    assert error < 1e-7
    return value - math.log(k)


def toy_weight_variance(x: float = 1.0) -> float:
    """Var(w / p(x)) of the toy by quadrature; half of it, .182059 at x = 1, is the limit of k (log p − L_k)."""
    second, _ = integrate.quad(lambda z: stats.norm.pdf(z) * stats.norm.pdf(x, z) ** 2, -11, 11)
    return second / math.exp(2 * toy_evidence(x)) - 1


def shared_mean_evidence(x: np.ndarray) -> float:
    """Joint log p(x_1 … x_N) of θ ~ N(0, 1), z_i ~ N(θ, 1), x_i | z_i ~ N(z_i, 1): one N-dimensional Gaussian."""
    n = x.size
    return float(gaussian_log_density(x.reshape(-1), np.zeros(n), 2 * np.eye(n) + np.ones((n, n)))[0])


def integral_1d(
    density: Callable[[np.ndarray], np.ndarray], low: float, high: float, points: int = 4001
) -> float:
    """∫ density over an interval outside which it vanishes, by the trapezoid rule."""
    x = np.linspace(low, high, points)
    return float(np.trapezoid(density(x), x))


def integral_2d(density: Callable[[np.ndarray], np.ndarray], half: float, points: int = 401) -> float:
    """∫∫ density over the square of half-width ``half``, by the trapezoid rule; density takes rows (M, 2)."""
    axis = np.linspace(-half, half, points)
    grid = np.array(list(itertools.product(axis, axis)))
    return float(density(grid).sum() * (axis[1] - axis[0]) ** 2)


def match_rows(a: np.ndarray, b: np.ndarray) -> float:
    """Largest distance between the rows of two sets of centres under the best matching."""
    from scipy.optimize import linear_sum_assignment

    distance = np.linalg.norm(a[:, None] - b[None], axis=-1)
    return float(distance[linear_sum_assignment(distance)].max())
