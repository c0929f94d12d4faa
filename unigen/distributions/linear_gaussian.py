"""One step of expectation–maximisation for x = Wz + μ + ε, with weighted examples and a Gaussian prior on W.

Notation: x (N, D), z ~ N(0, I_q), ε ~ N(0, diag ψ), r_n ≥ 0 the weight of example n, a_n = (z_n, 1), b_d = (w_d, μ_d)
the coefficients of feature d. Expectations are over z_n given x_n under the present parameters. The step is one
regression of each feature on a_n:

    A_d = Σ_n r_n E[a_n a_nᵀ],   c_d = Σ_n r_n x_nd E[a_n],   b_d = (A_d + ridge_d)⁻¹ c_d,
    R_d = Σ_n r_n E(x_nd − b_dᵀa_n)²,   ψ_d = R_d / Σ_n r_n

Everything is computed in float64, a chunk of rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.checks import chunks
from unigen.distributions.low_rank import capacitance
from unigen.distributions.principal import covariance, principal_axes
from unigen.errors import ArgumentError, NonFiniteError, ShapeError

DEGENERATE = 1e-12  # smallest noise variance relative to the mean variance
CHUNK = 2**19  # numbers of x in float64 at a time


@dataclass(frozen=True)
class Moments:
    """Expected sufficient statistics of the centred data, summed over weighted examples.

    Args:
        second: A_d, shape (D, q + 1, q + 1), or (1, q + 1, q + 1) where it is the same for every feature.
        cross: c_d, shape (D, q + 1).
        square: Σ_n r_n x_nd², shape (D,).
        count: Σ_n r_n, shape (D,).
        centre: What was subtracted from x, shape (D,).
    """

    second: Tensor
    cross: Tensor
    square: Tensor
    count: Tensor
    centre: Tensor

    @property
    def variances(self) -> Tensor:
        """Variance of each feature over the examples that have it, shape (D,)."""
        return self.square / self.count - (self.cross[:, -1] / self.count).square()

    def maximise(self, ridge: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return W (D, q), μ (D,) and the expected squared residuals R (D,).

        Args:
            ridge: Added to the diagonal of A_d: shape (q,) or (D, q); ψ_d α_i for the prior W_di ~ N(0, 1/α_i).
        """
        second = self.second
        if ridge is not None:
            padded = torch.nn.functional.pad(ridge.reshape(-1, self.cross.shape[1] - 1), (0, 1))
            second = second + torch.diag_embed(padded)
        b = torch.linalg.solve(second, self.cross[..., None])[..., 0]
        fitted = (self.second @ b[..., None])[..., 0]
        residual = self.square - 2 * (b * self.cross).sum(1) + (b * fitted).sum(1)
        return b[:, :-1], self.centre + b[:, -1], residual.clamp_min(0)


def check_latents(features: int, latents: int, program: str, all_of_them: bool = False) -> None:
    """Refuse a number of latents that leaves no direction for the noise, or (without noise) exceeds the features.

    Raises:
        ArgumentError: Not 1 ≤ latents < features, or not 1 ≤ latents ≤ features for ``all_of_them``.
    """
    if not 1 <= latents < features + all_of_them:
        raise ArgumentError(
            program=program,
            site="latents",
            got=f"{latents} of {features} features",
            expected=f"1 ≤ latents {'≤' if all_of_them else '<'} features",
        )


def check_spread(variances: Tensor, rest: Tensor, program: str) -> None:
    """Refuse axes without variance, to a few units of rounding of their sum.

    Args:
        variances: Of the axes, shape (q,).
        rest: Variance outside them, shape (1,).
        program: Name used in messages.

    Raises:
        ArgumentError: There are some.
    """
    total = variances.sum() + rest.sum()
    flat = variances <= 8 * torch.finfo(variances.dtype).eps * total
    if bool(flat.any()):
        raise ArgumentError(
            "the data have no variance along an axis, so its coordinate has no unit",
            program=program,
            site="latents",
            got=f"{int(flat.sum())} such axes of {flat.shape[0]}",
            expected="none",
            hint=f"latents={int((~flat).sum())}",
        )


def check_maximum(variance: Tensor, scale: Tensor, latents: int, program: str) -> None:
    """Refuse a noise variance below 10⁻¹² of a scale.

    Raises:
        ArgumentError: It is: the likelihood has no maximum.
    """
    if not bool((variance > DEGENERATE * scale).all()):
        raise ArgumentError(
            "the likelihood has no maximum: the data lie in a subspace of as many dimensions as the latent",
            program=program,
            site="latents",
            got=latents,
            hint="fewer latents, more examples, or noise on the data",
        )


def check_noise(noise: Tensor, program: str) -> None:
    """Refuse noise variances of zero.

    Raises:
        NonFiniteError: There are some.
    """
    if not bool((noise > 0).all()):
        raise NonFiniteError(
            "a feature is constant, its noise variance zero",
            program=program,
            site="x",
            got=f"{int((noise <= 0).sum())} such features",
            expected="none",
            hint="drop them, or FactorAnalysis(..., floor=1e-6)",
        )


def check_weights(weights: Tensor | None, n: int, program: str) -> Tensor | None:
    """Return the weights of n examples in float64.

    Raises:
        ShapeError: Not one weight for each example.
        ArgumentError: A negative or non-finite weight, or none that is positive.
    """
    if weights is None:
        return None
    if tuple(weights.shape) != (n,):
        raise ShapeError(program=program, site="weights", got=tuple(weights.shape), expected=f"({n},)")
    r = weights.detach().double()
    if not bool((r >= 0).all() & r.isfinite().all() & (r.sum() > 0)):
        raise ArgumentError(
            program=program,
            site="weights",
            got=f"weights in [{r.min().item():.6g}, {r.max().item():.6g}]",
            expected="finite numbers ≥ 0 with a positive sum",
        )
    return r


def blocks(x: Tensor, weights: Tensor | None, width: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield consecutive rows of x in float64 and their weights, one where there are none.

    Args:
        x: Shape (N, D).
        weights: Shape (N,), or None.
        width: Numbers that are made of each row; D if omitted.
    """
    size = max(1, CHUNK // max(1, width or x.shape[1]))
    for i in range(0, x.shape[0], size):
        rows = x[i : i + size].double()
        yield rows, rows.new_ones(rows.shape[0]) if weights is None else weights[i : i + size]


def check_finite(x: Tensor, program: str) -> None:
    """Refuse NaN and infinite entries.

    Raises:
        NonFiniteError: There are some.
    """
    if not all(bool(rows.isfinite().all()) for rows in chunks(x)):
        raise NonFiniteError(
            program=program,
            site="x",
            got="NaN or infinite entries",
            expected="finite numbers",
            hint="drop or impute them, or EM() with missing=True where NaN marks a missing entry",
        )


def finite_covariance(x: Tensor, weights: Tensor | None, program: str) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) and the covariance (D, D) divided by Σ r_n, in float64.

    Raises:
        NonFiniteError: x has NaN or infinite entries.
    """
    check_finite(x, program)
    return covariance(x, weights)


def leading_axes(
    x: Tensor, weights: Tensor | None, count: int, program: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``principal_axes`` of finite data with checked weights.

    Raises:
        NonFiniteError: x has NaN or infinite entries.
        ShapeError, ArgumentError: See ``check_weights``.
    """
    r = check_weights(weights, x.shape[0], program)
    check_finite(x, program)
    return principal_axes(x, r, count=count)


def moments(x: Tensor, weights: Tensor | None, weight: Tensor, noise: Tensor, program: str) -> Moments:
    """Return the expected statistics of complete data at their mean, which is the best μ whatever W and ψ are.

    Args:
        x: Data, shape (N, D).
        weights: r, shape (N,) in float64, or None for ones.
        weight: W, shape (D, q).
        noise: ψ, shape (D,).
        program: Name used in messages.

    Raises:
        NonFiniteError: x has NaN or infinite entries.
    """
    check_finite(x, program)
    w, psi = weight.double(), noise.double()
    total = sum((r @ rows for rows, r in blocks(x, weights)), torch.zeros_like(psi))
    mean = total / (x.shape[0] if weights is None else weights.sum())
    spread = torch.cholesky_inverse(capacitance(w, psi))
    gain = (w / psi[:, None]) @ spread
    d, q = w.shape
    second, cross, square = w.new_zeros(q + 1, q + 1), w.new_zeros(d, q + 1), w.new_zeros(d)
    count = w.new_zeros(1)
    for rows, r in blocks(x, weights):
        centred = rows - mean
        a = torch.nn.functional.pad(centred @ gain, (0, 1), value=1.0)
        ra = r[:, None] * a
        second, cross = second + ra.mT @ a, cross + centred.mT @ ra
        square, count = square + r @ centred.square(), count + r.sum()
    second[:q, :q] += count * spread
    return Moments(second[None], cross, square, count.expand(d), mean)
