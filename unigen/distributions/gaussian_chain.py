"""Paths of a linear-Gaussian Markov chain, before and after evidence: Kalman's filter and smoother as a distribution.

    z_1 ~ N(m, P),   z_t = A z_{t−1} + N(0, Q),   y_t = C z_t + d + N(0, diag r)

Notation: T steps, K state and D observed dimensions. Without y this is the law of z_{1:T}; with y it is p(z | y), and
``log_normaliser`` is the evidence log p(y). NaN in y marks what was not observed: padding, or missing entries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.flow import check_value
from unigen.errors import ArgumentError
from unigen.logprob import Kind


@dataclass(frozen=True)
class LinearEmission:
    """y_t = C z_t + d + N(0, diag r), seen.

    Args:
        weight: C, shape (D, K).
        offset: d, shape (D,).
        noise: r > 0, shape (D,).
        y: Observations, shape (..., T, D).
        missing: NaN in y marks an entry that was not observed.
    """

    weight: Tensor
    offset: Tensor
    noise: Tensor
    y: Tensor
    missing: bool = False


@dataclass(frozen=True)
class _Step:
    """What the filter knows after one step: mean and a root B of the covariance BBᵀ, and log p(y_t | y_{<t})."""

    mean: Tensor
    root: Tensor
    predicted: Tensor
    evidence: Tensor


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[..., None])[..., 0]


class GaussianChain(TorchDistribution):
    """The distribution of z_{1:T} ∈ R^{T×K}, exact in density, draws and moments.

    Args:
        mean: m, shape (K,).
        scale_tril: Lower triangular root of P, shape (K, K).
        transition: A, shape (K, K).
        noise_tril: Lower triangular root of Q, shape (K, K).
        length: T; taken from y if omitted.
        emission: Observations and how they arise; none for the chain itself.
        batch_shape: By default that of y.
        validate_args: Check the values given to ``log_prob``; torch's global setting if None.

    Raises:
        ArgumentError: There is neither length nor emission, or y has another length.

    References:
        Kalman 1960; Rauch, Tung & Striebel 1965; Frühwirth-Schnatter, Journal of Time
        Series Analysis 1994 (backward sampling).

    Example:
        >>> eye = torch.eye(1)
        >>> seen = LinearEmission(eye, torch.zeros(1), torch.ones(1), torch.zeros(3, 1))
        >>> walk = GaussianChain(torch.zeros(1), eye, eye, eye, emission=seen)
        >>> [round(v, 3) for v in walk.variance.flatten().tolist()]
        [0.385, 0.462, 0.615]
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    kind = Kind.EXACT
    has_rsample = True

    def __init__(
        self,
        mean: Tensor,
        scale_tril: Tensor,
        transition: Tensor,
        noise_tril: Tensor,
        length: int | None = None,
        emission: LinearEmission | None = None,
        *,
        batch_shape: torch.Size | tuple[int, ...] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        seen = None if emission is None else emission.y.shape[-2]
        length = seen if length is None else length
        if length is None or length < 1 or seen not in (None, length):
            raise ArgumentError(
                program="GaussianChain",
                site="length",
                got=f"{length}, and y of {seen} steps",
                expected="one T ≥ 1",
            )
        self.start, self.scale_tril, self.transition, self.noise_tril = (
            mean,
            scale_tril,
            transition,
            noise_tril,
        )
        self.emission = emission
        batch = torch.Size() if emission is None else emission.y.shape[:-2]
        batch = batch if batch_shape is None else torch.Size(batch_shape)
        self._steps: list[_Step] | None = None
        super().__init__(batch, torch.Size((length, mean.shape[-1])), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """R^{T×K}."""
        return constraints.independent(constraints.real, 2)

    def expand(self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None) -> GaussianChain:
        """Return the same distribution with another batch shape."""
        return GaussianChain(
            self.start, self.scale_tril, self.transition, self.noise_tril, self.event_shape[0], self.emission,
            batch_shape=batch_shape, validate_args=self._validate_args,
        )  # fmt: skip

    # -- filter --------------------------------------------------------------------------------------------

    def _observe(self, t: int, mean: Tensor, root: Tensor) -> _Step:
        """Condition N(mean, BBᵀ) on y_t. With u ~ N(0, I), z = mean + Bu: u | y ~ N(S⁻¹g, S⁻¹), S = I + BᵀCᵀR⁻¹CB."""
        e = self.emission
        if e is None:
            return _Step(mean, root, mean, mean.new_zeros(()))
        y, weight, noise = e.y[..., t, :], e.weight, e.noise
        count: Tensor | int = y.shape[-1]
        if e.missing:  # an entry that was not seen has no row in C, and a unit noise that explains nothing
            seen = ~y.isnan()
            weight, noise = weight * seen[..., None], torch.where(seen, noise, torch.ones_like(noise))
            y, count = torch.where(seen, y, e.offset), seen.sum(-1).to(mean.dtype)
        error = y - e.offset - _times(weight, mean)
        whitened = (weight @ root) / noise.sqrt()[..., None]
        eye = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
        factor = torch.linalg.cholesky(eye + whitened.mT @ whitened)
        back = torch.linalg.inv(factor).mT  # S⁻¹ = back backᵀ
        error = error / noise.sqrt()
        u = _times(back, _times(back.mT, _times(whitened.mT, error)))
        square = (error - _times(whitened, u)).square().sum(-1) + u.square().sum(-1)
        log_det = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + noise.log().sum(-1)
        evidence = -0.5 * (square + log_det + count * math.log(2 * math.pi))
        return _Step(mean + _times(root, u), root @ back, mean, evidence)

    def filtered(self) -> list[_Step]:
        """Return mean, root of the covariance and evidence of every step given y_{1:t}, computed once."""
        if self._steps is None:
            steps = [self._observe(0, self.start, self.scale_tril)]
            for t in range(1, self.event_shape[0]):
                mean = _times(self.transition, steps[-1].mean)
                moved = self.transition @ steps[-1].root
                spread = moved @ moved.mT + self.noise_tril @ self.noise_tril.mT
                steps.append(self._observe(t, mean, torch.linalg.cholesky(spread)))
            self._steps = steps
        return self._steps

    @property
    def log_normaliser(self) -> Tensor:
        """log p(y_{1:T}) in nats, shape (*batch); zero without observations."""
        return torch.stack([s.evidence.expand(self.batch_shape) for s in self.filtered()]).sum(0)

    # -- smoother --------------------------------------------------------------------------------------------

    def _backward(self, t: int) -> tuple[Tensor, Tensor]:
        """Return the gain G and a root of the covariance of z_t given z_{t+1} and y_{1:t}."""
        step = self.filtered()[t]
        b = torch.linalg.inv(self.noise_tril) @ self.transition @ step.root
        eye = torch.eye(b.shape[-1], dtype=b.dtype, device=b.device)
        back = torch.linalg.inv(torch.linalg.cholesky(eye + b.mT @ b)).mT
        root = step.root @ back
        return root @ back.mT @ b.mT @ torch.linalg.inv(self.noise_tril), root

    def _conditional(self, t: int, following: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and root of p(z_t | z_{t+1}, y)."""
        steps = self.filtered()
        gain, root = self._backward(t)
        return steps[t].mean + _times(gain, following - _times(self.transition, steps[t].mean)), root

    @property
    def mean(self) -> Tensor:
        """E[z_t | y], shape (*batch, T, K)."""
        return self._moments()[0]

    @property
    def variance(self) -> Tensor:
        """Var[z_t | y] of each entry, shape (*batch, T, K)."""
        return self._moments()[1]

    def _moments(self) -> tuple[Tensor, Tensor]:
        steps = self.filtered()
        means, covariances = [steps[-1].mean], [steps[-1].root @ steps[-1].root.mT]
        for t in range(self.event_shape[0] - 2, -1, -1):
            mean, root = self._conditional(t, means[-1])
            gain = self._backward(t)[0]
            means.append(mean)
            covariances.append(root @ root.mT + gain @ covariances[-1] @ gain.mT)
        shape = self.batch_shape + self.event_shape
        variances = [c.diagonal(dim1=-2, dim2=-1) for c in covariances[::-1]]
        return (
            torch.stack([m.expand(*self.batch_shape, -1) for m in means[::-1]], -2).expand(shape),
            torch.stack([v.expand(*self.batch_shape, -1) for v in variances], -2).expand(shape),
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(z_{1:T} | y) in nats for z (..., T, K), backwards: p(z_T | y) Π p(z_t | z_{t+1}, y)."""
        check_value(self, value, "GaussianChain")
        last = self.filtered()[-1]
        total = _log_normal(value[..., -1, :], last.mean, last.root)
        for t in range(self.event_shape[0] - 2, -1, -1):
            total = total + _log_normal(value[..., t, :], *self._conditional(t, value[..., t + 1, :]))
        return total

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw with gradients, filtering forward and sampling backward, shape (*sample_shape, *batch, T, K)."""
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        eps = torch.randn(shape, dtype=self.start.dtype, device=self.start.device)
        last = self.filtered()[-1]
        path = [last.mean + _times(last.root, eps[..., -1, :])]
        for t in range(self.event_shape[0] - 2, -1, -1):
            mean, root = self._conditional(t, path[-1])
            path.append(mean + _times(root, eps[..., t, :]))
        return torch.stack(path[::-1], -2)


def _log_normal(z: Tensor, mean: Tensor, root: Tensor) -> Tensor:
    """log N(z; mean, BBᵀ) for any square root B."""
    u = _times(torch.linalg.inv(root), z - mean)
    log_det = torch.linalg.slogdet(root)[1]
    return -0.5 * (u.square().sum(-1) + z.shape[-1] * math.log(2 * math.pi)) - log_det
