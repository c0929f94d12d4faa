"""N(μ, WWᵀ + Ψ) where entries of x are missing, marked by NaN: density, posterior of z, and the EM statistics.

Notation as in ``low_rank``; o_nd = 1 where x_nd is observed. Leaving a feature out is giving it infinite noise:

    M_n = I + Σ_d (o_nd / ψ_d) w_d w_dᵀ,   m_n = M_n⁻¹ Σ_d (o_nd / ψ_d) w_d (x_nd − μ_d),   z | x_obs ~ N(m_n, M_n⁻¹),
    −2 log p(x_obs) = Σ_d o_nd [(x_nd − μ_d − w_dᵀm_n)² / ψ_d + log 2πψ_d] + ‖m_n‖² + log |M_n|

at the cost of one q × q system an example, O(N (D q² + q³)); no D × D matrix is formed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from unigen.distributions.cholesky import cholesky
from unigen.distributions.dense_normal import DenseNormal
from unigen.distributions.linear_gaussian import Moments, blocks, moments
from unigen.distributions.low_rank import LowRankNormal, linear_gaussian_posterior
from unigen.distributions.missing import ObservedPart
from unigen.errors import EmptyDataError, NonFiniteError


def partial_capacitance(weight: Tensor, noise: Tensor, observed: Tensor) -> Tensor:
    """Return M_n, shape (..., q, q).

    Args:
        weight: W, shape (..., D, q).
        noise: ψ, shape (..., D).
        observed: o, zeros and ones, shape (..., D).
    """
    q = weight.shape[-1]
    outer = (weight[..., :, None] * weight[..., None, :]).flatten(-2)
    m = ((observed / noise)[..., None, :] @ outer)[..., 0, :].unflatten(-1, (q, q))
    return m + torch.eye(q, dtype=weight.dtype, device=weight.device)


def split(x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return (o, x − μ) with zeros at the missing entries, and gradients that are never NaN."""
    missing = x.isnan()
    return (~missing).to(mean.dtype), torch.where(missing, mean, x) - mean


def partial_posterior(
    weight: Tensor, mean: Tensor, noise: Tensor, x: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return (m, M, M⁻¹, o, x − μ) for each example.

    Args:
        weight: W, shape (..., D, q).
        mean: μ, shape (..., D).
        noise: ψ, shape (..., D).
        x: Data with NaN where an entry is missing, shape (..., D).
    """
    observed, centred = split(x, mean)
    # not Cholesky factors: their gradient fails to trace where the batch is symbolic, one matrix for each row
    precision = partial_capacitance(weight, noise, observed)
    covariance = torch.linalg.inv(precision)
    projected = (centred / noise)[..., None, :] @ weight
    return (projected @ covariance)[..., 0, :], precision, covariance, observed, centred


def observed_posterior(weight: Tensor, mean: Tensor, noise: Tensor, x: Tensor) -> DenseNormal:
    """Return p(z | x_obs) = N(m_n, M_n⁻¹), batch shape (N,); the prior where nothing is observed."""
    m, _, covariance, *_ = partial_posterior(weight, mean, noise, x)
    return DenseNormal(m, scale_tril=cholesky((covariance + covariance.mT) / 2))


class PartialLowRankNormal(LowRankNormal):
    """N(loc, WWᵀ + diag ψ) whose ``log_prob`` is the marginal of the observed entries; NaN marks a missing one.

    Arguments as in ``LowRankNormal``. Draws are complete.

    References:
        Little & Rubin, Statistical analysis with missing data, 2019, ch. 11.

    Example:
        >>> p = PartialLowRankNormal(torch.zeros(2), torch.ones(2, 1), torch.ones(2))
        >>> x = torch.tensor([[1.0, torch.nan]])
        >>> p.log_prob(x), p.impute(x)  # N(1; 0, 2), and E[x_2 | x_1] = x_1 / 2
        (tensor([-1.5155]), tensor([[1.0000, 0.5000]]))
    """

    @property
    def support(self) -> Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Real vectors, or NaN where an entry is missing."""
        return ObservedPart(constraints.real_vector)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x_obs) in nats, shape (...); 0 where nothing is observed."""
        if self._validate_args:
            self._validate_sample(value)
        weight, noise = self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag
        m, precision, _, observed, centred = partial_posterior(weight, self.loc, noise, value)
        residual = centred - (m[..., None, :] @ weight.mT)[..., 0, :]
        each = observed * (residual.square() / noise + noise.log() + math.log(2 * math.pi))
        return -0.5 * (each.sum(-1) + m.square().sum(-1) + torch.linalg.slogdet(precision)[1])

    def impute(self, value: Tensor) -> Tensor:
        """Return x with each missing entry replaced by E[x_d | x_obs], shape (..., D)."""
        weight, noise = self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag
        m = partial_posterior(weight, self.loc, noise, value)[0]
        return torch.where(value.isnan(), self.loc + (m[..., None, :] @ weight.mT)[..., 0, :], value)


def check_observed(x: Tensor, weights: Tensor | None, program: str) -> None:
    """Refuse infinite entries, and data in which a feature is never observed (with positive weight).

    Raises:
        NonFiniteError: An entry is infinite.
        EmptyDataError: There is such a feature.
    """
    if any(bool(rows.isinf().any()) for rows, _ in blocks(x, weights)):
        raise NonFiniteError(
            program=program, site="x", got="infinite entries", expected="finite numbers, or NaN where missing"
        )
    count = sum(r @ (~rows.isnan()).double() for rows, r in blocks(x, weights))
    never = (torch.as_tensor(count) == 0).nonzero().flatten().tolist()
    if never:
        raise EmptyDataError(
            "features that are never observed have no likelihood to maximise",
            program=program,
            site="x",
            got=f"feature{'s' * (len(never) > 1)} {', '.join(map(str, never[:8]))} missing in every example",
            expected="at least one value a feature",
            hint="drop these columns",
        )


def partial_moments(
    x: Tensor, weights: Tensor | None, weight: Tensor, mean: Tensor, noise: Tensor
) -> Moments:
    """Return the expected statistics of the observed entries, each feature's over the examples that have it.

    Args:
        x: Data with NaN where an entry is missing, shape (N, D).
        weights: r, shape (N,) in float64, or None for ones.
        weight: W, shape (D, q).
        mean: μ, shape (D,).
        noise: ψ, shape (D,).
    """
    w, mu, psi = weight.double(), mean.double(), noise.double()
    d, q = w.shape
    second, cross = w.new_zeros(d, (q + 1) ** 2), w.new_zeros(d, q + 1)
    square, count = w.new_zeros(d), w.new_zeros(d)
    for rows, r in blocks(x, weights, max(d, (q + 1) ** 2)):
        m, _, covariance, observed, centred = partial_posterior(w, mu, psi, rows)
        a = torch.nn.functional.pad(m, (0, 1), value=1.0)
        each = a[:, :, None] * a[:, None, :]
        each[:, :q, :q] += covariance
        seen = r[:, None] * observed
        second, cross = second + seen.mT @ each.flatten(1), cross + centred.mT @ (r[:, None] * a)
        square, count = square + r @ centred.square(), count + seen.sum(0)
    return Moments(second.unflatten(1, (q + 1, q + 1)), cross, square, count, mu)


def has_missing(x: Tensor) -> bool:
    """Return whether x has NaN entries."""
    return any(bool(rows.isnan().any()) for rows in x.split(2**14))


def statistics(
    x: Tensor,
    weights: Tensor | None,
    weight: Tensor,
    mean: Tensor,
    noise: Tensor,
    missing: bool | None,
    program: str,
) -> Moments:
    """Return the expected statistics of data that may have missing entries, or must be complete.

    Raises:
        NonFiniteError: An infinite entry, or NaN although ``missing`` is False.
        EmptyDataError: A feature is never observed.
    """
    if not (missing and has_missing(x)):
        return moments(x, weights, weight, noise, program)
    check_observed(x, weights, program)
    return partial_moments(x, weights, weight, mean, noise)


def posterior(weight: Tensor, mean: Tensor, noise: Tensor, x: Tensor, missing: bool | None) -> DenseNormal:
    """Return p(z | x), or p(z | x_obs) where NaN marks missing entries."""
    chosen = observed_posterior if missing else linear_gaussian_posterior
    return chosen(weight, mean, noise, x)


def normal(mean: Tensor, weight: Tensor, noise: Tensor, missing: bool | None) -> LowRankNormal:
    """Return N(μ, WWᵀ + Ψ), over complete examples or those where NaN marks missing entries."""
    return (PartialLowRankNormal if missing else LowRankNormal)(mean, weight, noise)


def observed_location(x: Tensor, program: str) -> tuple[Tensor, Tensor]:
    """Return mean and variance (1 if it is zero) of the observed entries of each feature, in float64.

    Raises:
        NonFiniteError, EmptyDataError: See ``check_observed``.
    """
    check_observed(x, None, program)
    rows = x.double()
    mean = rows.nanmean(0)
    variance = (rows - mean).square().nanmean(0)
    return mean, torch.where(variance > 0, variance, 1.0)
