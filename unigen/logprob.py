"""LogProb: a log-probability that says what it is, and the algebra of kinds.

Notation: ``value`` holds log p(x_i) in nats, one entry an example, shape (N,); ``stderr`` the Monte Carlo
standard error of each entry where the entry is random, else None.

The algebra, in order of precedence. Unnormalised absorbs everything; a bound absorbs estimates and exact
values; an estimate absorbs exact values; two bounds of opposite sense have no sum. Negation turns a lower
bound into an upper one, so a difference ``a - b`` is a bound on the true difference whenever one exists.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

import torch
from torch import Tensor

from unigen.errors import KindError, ShapeError
from unigen.units import Mean, bits_per_dim, check_dims, nats, perplexity


class Kind(Enum):
    """What a log-probability is, relative to the true log p(x) of its program."""

    EXACT = "exact"
    LOWER_BOUND = "lower bound"
    UPPER_BOUND = "upper bound"
    ESTIMATE = "estimate"
    UNNORMALISED = "unnormalised"

    def __str__(self) -> str:
        """Return the words a reader sees."""
        return self.value

    def __add__(self, other: Kind) -> Kind:
        """Return the kind of a sum of two log-probabilities.

        Raises:
            KindError: One is a lower and the other an upper bound.

        Example:
            >>> print(Kind.EXACT + Kind.LOWER_BOUND, Kind.ESTIMATE + Kind.EXACT, sep=", ")
            lower bound, estimate
        """
        pair = {self, other}
        if Kind.UNNORMALISED in pair:
            return Kind.UNNORMALISED
        if pair == {Kind.LOWER_BOUND, Kind.UPPER_BOUND}:
            raise KindError(
                "a lower and an upper bound have no sum that is either",
                hint="compare each with an exact value or an estimate (importance weighting tightens a bound)",
            )
        for kind in (Kind.LOWER_BOUND, Kind.UPPER_BOUND, Kind.ESTIMATE):
            if kind in pair:
                return kind
        return Kind.EXACT

    def __neg__(self) -> Kind:
        """Return the kind of the negated quantity."""
        return {Kind.LOWER_BOUND: Kind.UPPER_BOUND, Kind.UPPER_BOUND: Kind.LOWER_BOUND}.get(self, self)

    @property
    def normalised(self) -> bool:
        """Whether the number refers to a density that integrates to one."""
        return self is not Kind.UNNORMALISED


@dataclass(frozen=True)
class Comparison:
    """The paired difference of two LogProbs on the same examples, a − b.

    ``kind`` is the kind of the difference: a lower bound of +3 nats proves that a is at least 3 nats better,
    a lower bound of −3 proves nothing, and ``verdict`` says so.
    """

    difference: float
    stderr: float | None
    kind: Kind
    verdict: str

    def __str__(self) -> str:
        """Return the difference, its kind and what follows from it."""
        error = "" if self.stderr is None else f" ± {self.stderr:.3g}"
        return f"{self.difference:+.6g}{error} nats ({self.kind} of the difference): {self.verdict}"


def _verdict(difference: float, stderr: float | None, kind: Kind) -> str:
    margin = 2.0 * (stderr or 0.0)
    if kind is not Kind.UPPER_BOUND and difference > margin:
        return "the first is better"
    if kind is not Kind.LOWER_BOUND and difference < -margin:
        return "the second is better"
    if kind in (Kind.LOWER_BOUND, Kind.UPPER_BOUND):
        return "undecided: the bound is on the wrong side; tighten it"
    return "undecided: the difference is within two standard errors"


@dataclass(frozen=True, repr=False)
class LogProb:
    """Per-example log-probabilities in nats, with their kind.

    Args:
        value: log p(x_i), shape (N,) (or () after a sum).
        kind: What the numbers are.
        stderr: Monte Carlo standard errors, same shape, or None.
        dims: Number of scalar dimensions of one example, for bits/dim.

    Raises:
        ShapeError: ``stderr`` has another shape than ``value``.

    Example:
        >>> a = LogProb(torch.tensor([-1.0, -2.0]), Kind.EXACT)
        >>> b = LogProb(torch.tensor([-1.5, -2.5]), Kind.LOWER_BOUND)
        >>> (a + b).kind
        <Kind.LOWER_BOUND: 'lower bound'>
        >>> print(a.compare(b).kind)
        upper bound
    """

    value: Tensor
    kind: Kind
    stderr: Tensor | None = None
    dims: int | None = None

    def __post_init__(self) -> None:
        if self.stderr is not None and self.stderr.shape != self.value.shape:
            raise ShapeError(site="stderr", got=tuple(self.stderr.shape), expected=tuple(self.value.shape))

    def __repr__(self) -> str:
        """Return mean, kind and error, e.g. ``LogProb(mean=-1.5, kind=exact, n=2)``."""
        mean = self.mean()
        noise = "" if mean.monte_carlo is None else f", monte_carlo=±{mean.monte_carlo:.2g}"
        error = "" if mean.stderr is None else f", stderr=±{mean.stderr:.3g}"
        return f"LogProb(mean={mean.value:.6g}, kind={self.kind}{error}{noise}, n={mean.n})"

    def __len__(self) -> int:
        """Return the number of examples."""
        return self.value.shape[0]

    def __add__(self, other: LogProb | Tensor | float) -> LogProb:
        """Add log-probabilities (of independent parts) or a known constant."""
        if not isinstance(other, LogProb):
            return replace(self, value=self.value + other)
        return LogProb(
            self.value + other.value,
            self.kind + other.kind,
            _hypot(self.stderr, other.stderr),
            self.dims if self.dims == other.dims else None,
        )

    __radd__ = __add__

    def __neg__(self) -> LogProb:
        """Negate; a lower bound becomes an upper bound."""
        return replace(self, value=-self.value, kind=-self.kind)

    def __sub__(self, other: LogProb | Tensor | float) -> LogProb:
        """Subtract; the kind is that of a bound on the true difference.

        Raises:
            KindError: Two bounds of one sense: their gaps to the truth are unknown.
        """
        if isinstance(other, LogProb) and self.kind is other.kind is not (-self.kind):
            raise KindError(
                f"the difference of two numbers of kind {self.kind} is no bound",
                hint="a.compare(b) says what can be said of two log-probabilities",
            )
        return self + (-other)

    def __lt__(self, other: object) -> bool:
        """Refuse with a KindError: an order would hide the kinds; ``compare`` says what they allow."""
        raise KindError("log-probabilities have kinds, so < and > would mislead", hint="a.compare(b)")

    __gt__ = __le__ = __ge__ = __lt__

    def __rsub__(self, other: Tensor | float) -> LogProb:
        """Subtract from a known constant."""
        return (-self) + other

    def __getitem__(self, index: object) -> LogProb:
        """Select examples."""
        stderr = None if self.stderr is None else self.stderr[index]  # pyright: ignore[reportArgumentType]
        return replace(self, value=self.value[index], stderr=stderr)  # pyright: ignore[reportArgumentType]

    def sum(self) -> LogProb:
        """Return the log-probability of all examples together (they are independent), shape ()."""
        stderr = None if self.stderr is None else self.stderr.square().sum().sqrt()
        return replace(self, value=self.value.sum(), stderr=stderr, dims=None)

    def mean(self) -> Mean:
        """Return the mean over the examples in nats, with its standard error."""
        value = self.value.detach().double().reshape(-1)
        n = value.numel()
        error = (value.std() / math.sqrt(n)).item() if n > 1 else None
        noise = None
        if self.stderr is not None:
            noise = (self.stderr.detach().double().square().sum().sqrt() / n).item()
        return Mean(value.mean().item(), self.kind, error if error is not None else noise, noise, n)

    def bits_per_dim(self, levels: int = 1, dims: int | None = None) -> Mean:
        """Return −(log p(x) − D log levels) / (D log 2), averaged: bits per dimension of the integer data.

        A density of x = (k + u) / levels, k an integer and u uniform, bounds the mass of k from below:
        log P(k) ≥ E_u log p(x) − D log levels, so the kind is an upper bound on the code length. ``levels=1``
        leaves the density as it is and reports its differential code length.

        Args:
            levels: The factor by which dequantised data were divided (17 for the digits, 256 for images).
            dims: Number of dimensions D; by default that of the program that was scored.

        Returns:
            Mean in bits/dim.

        Raises:
            ArgumentError: D is unknown, or levels < 1.
            KindError: The density is unnormalised.

        Example:
            >>> LogProb(torch.zeros(3), Kind.EXACT, dims=64).bits_per_dim(levels=16).value
            4.0
        """
        d = check_dims(self.dims if dims is None else dims, levels)
        mean = self._coded().mean()
        kind = -(self.kind if levels == 1 else self.kind + Kind.LOWER_BOUND)
        return mean.mapped(bits_per_dim(mean.value, d, levels), 1 / nats(d), kind, "bits/dim")

    def perplexity(self, tokens: int | None = None) -> Mean:
        """Return exp(−mean log p / T), T tokens an example; errors are those of the mean, times perplexity / T.

        Args:
            tokens: T; by default the number of dimensions of the program that was scored.

        Returns:
            Mean in perplexity: an upper bound where log p is a lower one.

        Raises:
            ArgumentError: T is unknown or below one.
            KindError: The density is unnormalised.

        Example:
            >>> print(f"{LogProb(torch.full((3,), -4 * math.log(2.0)), Kind.EXACT, dims=4).perplexity().value:.4f}")
            2.0000
        """
        t, mean = check_dims(self.dims if tokens is None else tokens), self._coded().mean()
        value = perplexity(mean.value, t)
        return mean.mapped(value, value / t, -self.kind, "perplexity")

    def _coded(self) -> LogProb:
        if not self.kind.normalised:
            raise KindError("an unnormalised density has no code length", hint="estimate log Z first")
        return self

    def compare(self, other: LogProb) -> Comparison:
        """Return the mean paired difference self − other and what it proves.

        Raises:
            KindError: The kinds allow no statement: two bounds of one sense, or an unnormalised density.
            ShapeError: The two do not score the same examples.
        """
        if not (self.kind.normalised and other.kind.normalised):
            raise KindError(
                f"{self.kind} and {other.kind} cannot be compared: an unnormalised density is known only up "
                "to its log Z",
                hint="estimate log Z, or compare samples with a two-sample test",
            )
        if self.kind is other.kind and self.kind in (Kind.LOWER_BOUND, Kind.UPPER_BOUND):
            raise KindError(
                f"two numbers of kind {self.kind} cannot be compared: the gaps to the truth are unknown",
                hint="score one with an exact density or a consistent estimate, or tighten both and report them",
            )
        if self.value.shape != other.value.shape:
            raise ShapeError(got=tuple(other.value.shape), expected=tuple(self.value.shape))
        delta = self - other
        mean = delta.mean()
        return Comparison(mean.value, mean.stderr, delta.kind, _verdict(mean.value, mean.stderr, delta.kind))


def _hypot(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return a if b is None else b
    return torch.hypot(a, b)
