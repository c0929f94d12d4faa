"""What was observed of x: log p(y | x), and what is left of it when x is known up to a Gaussian error.

    y = A x + noise ξ,   ξ ~ N(0, I):    log p(y | x) = log N(y; A x, noise² I),
    u ~ N(u_hat, spread² I):    log p(y | u_hat, spread) = log N(y; A' u_hat + A loc, noise² I + spread² A' A'ᵀ)

Notation: x (N, *event), flattened to D; A (M, D); y (M,), one observation for all rows; u = (x − loc) / scale the unit
coordinates of a denoiser and A' = A diag(scale).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from unigen.checks import as_tensor
from unigen.dynamics.guidance import check_gradient
from unigen.errors import ArgumentError, NonFiniteError, ShapeError

UnitLikelihood = Callable[[Tensor, Tensor], Tensor]  # u (N, *event), spread () -> log p(y | u, spread) (N,)
Forms = tuple[Callable[[Tensor], Tensor], Tensor, Tensor]


class Observation(ABC):
    """log p(y | x) of one observation y, for every row x."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """log p(y | x) in nats, (N,), of rows x (N, *event)."""

    @abstractmethod
    def in_unit(self, loc: Tensor, scale: Tensor) -> UnitLikelihood:
        """Return log p(y | u, spread) for x = loc + scale u, u known up to a normal error of this spread."""

    @abstractmethod
    def check(self, like: Tensor) -> None:
        """Refuse examples that cannot be observed in this way, given one of them, (*event).

        Raises:
            UnigenError: They cannot.
        """


def _vector(y: Any, program: str, site: str, rank: int) -> Tensor:
    """Return finite numbers as a tensor of this rank.

    Raises:
        ShapeError: Another rank.
        NonFiniteError: NaN or infinity.
    """
    found = as_tensor(y, program, site).detach()
    if found.dim() != rank or found.numel() == 0:
        expected = "(M, D)" if rank == 2 else "one observation, (M,)"
        raise ShapeError(program=program, site=site, got=tuple(found.shape), expected=expected)
    if not bool(torch.isfinite(found).all()):
        raise NonFiniteError(program=program, site=site, got="non-finite values", expected="finite numbers")
    return found


def _noise(noise: float, program: str) -> float:
    if isinstance(noise, bool) or not 0.0 < noise < math.inf:
        raise ArgumentError(
            program=program, argument="noise", got=noise, expected="a standard deviation > 0",
            hint="an exact observation is the limit: a small noise, e.g. 0.01 of the data's scale",
        )  # fmt: skip
    return float(noise)


class GaussianObservation(Observation):
    """y = A x + noise ξ: the formula of this file, for whatever A a subclass has."""

    noise: float

    @abstractmethod
    def forms(self, loc: Tensor, scale: Tensor) -> Forms:
        """The map u (N, *event) -> (N, M), the target (M,), and A' A'ᵀ (M,), in coordinates where it is diagonal."""

    def in_unit(self, loc: Tensor, scale: Tensor) -> UnitLikelihood:
        """log N(y; A' u + A loc, noise² I + spread² A' A'ᵀ)."""
        project, target, diagonal = self.forms(loc, scale)

        def log_prob(u: Tensor, spread: Tensor) -> Tensor:
            variance = self.noise**2 + spread.square() * diagonal
            squares = (target - project(u)).square() / variance
            return -0.5 * (squares + torch.log(2.0 * math.pi * variance)).sum(-1)

        return log_prob

    def log_prob(self, x: Tensor) -> Tensor:
        """log N(y; A x, noise² I), (N,)."""
        zero, one = torch.zeros_like(x[0]), torch.ones_like(x[0])
        return self.in_unit(zero, one)(x, x.new_zeros(()))


@final
class LinearObservation(GaussianObservation):
    """y = A x + noise ξ: blurring, projections, averages, any linear operator.

    Args:
        matrix: A, (M, D), on examples flattened to D.
        y: What was observed, (M,).
        noise: Standard deviation of the error, > 0.

    Raises:
        ShapeError: A is no matrix, or y has not one entry a row of it; from a sampler, A has not one column a feature.
        NonFiniteError: NaN or infinity.
        ArgumentError: The noise is not positive.

    Example:
        >>> mean = LinearObservation(torch.ones(1, 4) / 4, torch.tensor([2.0]), noise=0.5)
        >>> mean.log_prob(torch.tensor([[2.0, 2.0, 2.0, 2.0]]))  # −log (0.5 √2π)
        tensor([-0.2258])
    """

    def __init__(self, matrix: Any, y: Any, noise: float) -> None:
        self.matrix, self.y = (
            _vector(matrix, "LinearObservation", "matrix", 2),
            _vector(y, "LinearObservation", "y", 1),
        )
        self.noise = _noise(noise, "LinearObservation")
        if self.y.shape[0] != self.matrix.shape[0]:
            raise ShapeError(
                program="LinearObservation", site="y", got=tuple(self.y.shape),
                expected=f"({self.matrix.shape[0]},), one entry a row of the matrix",
            )  # fmt: skip
        self._found: tuple[Tensor, Tensor, Tensor] | None = (
            None  # scale, eigenvalues and eigenvectors of A' A'ᵀ
        )

    def check(self, like: Tensor) -> None:
        """Refuse examples of another length.

        Raises:
            ShapeError: A has not one column a feature.
        """
        if self.matrix.shape[1] != like.numel():
            raise ShapeError(
                program="LinearObservation", site="matrix", got=tuple(self.matrix.shape),
                expected=f"({self.matrix.shape[0]}, {like.numel()}), one column a feature of x {tuple(like.shape)}",
                hint="the transpose? A maps x to y",
            )  # fmt: skip

    def _spectrum(self, a: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Eigenvalues (M,) and eigenvectors (M, M) of A' A'ᵀ, found once for a scale."""
        known = self._found
        if known is None or known[0].dtype != scale.dtype or not torch.equal(known[0], scale):
            values, vectors = torch.linalg.eigh(a @ a.T)
            known = self._found = (scale.clone(), values.clamp_min(0.0), vectors)
        return known[1], known[2]

    def forms(self, loc: Tensor, scale: Tensor) -> Forms:
        """In the eigenvectors of A' A'ᵀ."""
        matrix, y = self.matrix.to(loc), self.y.to(loc)
        a = matrix * scale.flatten()
        values, vectors = self._spectrum(a, scale)
        rows, target = vectors.T @ a, vectors.T @ (y - matrix @ loc.flatten())
        return lambda u: u.flatten(1) @ rows.T, target, values


@final
class Inpainting(GaussianObservation):
    """Some entries of x, up to a little noise; the others are to be filled in.

    Args:
        known: True where x was observed, (*event).
        x: An example with those entries, (*event); the others are not read and may be NaN.
        noise: Standard deviation of the error, > 0.

    Raises:
        ShapeError: The two differ in shape; from a sampler, they are no example.
        ArgumentError: Nothing was observed, ``known`` is no mask, or the noise is not positive.
        NonFiniteError: An observed entry is NaN or infinite.

    Example:
        >>> first = Inpainting(torch.tensor([True, False]), torch.tensor([0.2, torch.nan]), noise=0.5)
        >>> first.log_prob(torch.tensor([[0.2, 3.0], [0.7, 3.0]]))  # −log (0.5 √2π), and ½ less
        tensor([-0.2258, -0.7258])
    """

    def __init__(self, known: Any, x: Any, noise: float) -> None:
        mask, values = as_tensor(known, "Inpainting", "known"), as_tensor(x, "Inpainting", "x").detach()
        if mask.dtype != torch.bool or not bool(mask.any()):
            raise ArgumentError(
                program="Inpainting", argument="known", got=f"{int(mask.bool().sum())} entries of {mask.dtype}",
                expected="a boolean mask with something observed", hint="x.isfinite()",
            )  # fmt: skip
        if mask.shape != values.shape:
            raise ShapeError(
                program="Inpainting", site="x", got=tuple(values.shape), expected=tuple(mask.shape)
            )
        self.known, self.x, self.noise = mask, values, _noise(noise, "Inpainting")
        self._y = _vector(values[mask], "Inpainting", "x", 1)

    def check(self, like: Tensor) -> None:
        """Refuse examples of another shape.

        Raises:
            ShapeError: The mask is no example.
        """
        if self.known.shape != like.shape:
            raise ShapeError(
                program="Inpainting", site="known", got=tuple(self.known.shape), expected=tuple(like.shape)
            )

    def forms(self, loc: Tensor, scale: Tensor) -> Forms:
        """A' is the scale of the observed entries: diagonal as it is."""
        index = self.known.to(loc.device).flatten().nonzero()[:, 0]
        loc, scale = loc.flatten()[index], scale.flatten()[index]
        return lambda u: u.flatten(1)[:, index] * scale, self._y.to(loc) - loc, scale.square()


@final
class Given(Observation):
    """Any log p(y | x), given as a function; what is not known of x is not accounted for.

    Args:
        function: Maps x (N, *event) to log p(y | x) in nats, (N,), differentiably.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def log_prob(self, x: Tensor) -> Tensor:
        """The function's value."""
        return self.function(x)

    def in_unit(self, loc: Tensor, scale: Tensor) -> UnitLikelihood:
        """The function at loc + scale u, whatever the spread."""
        return lambda u, spread: self.function(loc + scale * u)

    def check(self, like: Tensor) -> None:
        """Try the function once.

        Raises:
            ShapeError: Its values are not one a row.
            ArgumentError: It has no gradient.
        """
        check_gradient(self.function, like, "observation", "log_prob")


def as_observation(observation: Observation | Callable[[Tensor], Tensor], program: str) -> Observation:
    """Return an observation, also from a function log p(y | x).

    Raises:
        ArgumentError: It is neither.
    """
    if isinstance(observation, Observation):
        return observation
    if callable(observation):
        return Given(observation)
    raise ArgumentError(
        program=program, argument="observation", got=type(observation).__name__,
        expected="an observation, or a function x (N, *event) -> log p(y | x) (N,)",
        hint="ug.LinearObservation(A, y, noise) or ug.Inpainting(known, x, noise)",
    )  # fmt: skip
