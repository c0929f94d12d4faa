"""Evidence: what a check found, claim by claim, and the tolerances of deterministic and of stochastic claims.

A deterministic claim names its rounding or discretisation bound. A stochastic one is ``statistical``: its
tolerance is z·stderr with z the Gaussian quantile of the false-positive rate, 10⁻⁶ a claim unless said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal

FALSE_POSITIVE = 1e-6  # chance that one true stochastic claim is reported as failing
Sense = Literal["=", "≤", "≥"]


@dataclass(frozen=True)
class Claim:
    """One line of evidence: ``left sense right``, up to a tolerance.

    Args:
        name: What is compared.
        left: Left side.
        right: Right side.
        tolerance: Largest violation that rounding, discretisation or sampling explains.
        stderr: Standard error of left − right, where it is random.
        sense: "=", "≤" or "≥".
    """

    name: str
    left: float
    right: float
    tolerance: float
    stderr: float | None = None
    sense: Sense = "="

    @property
    def gap(self) -> float:
        """left − right."""
        return self.left - self.right

    @property
    def violation(self) -> float:
        """By how much the claim is violated, before the tolerance; not a number if a side is not."""
        return {"=": abs(self.gap), "≤": self.gap, "≥": -self.gap}[self.sense]

    @property
    def holds(self) -> bool:
        """Whether the violation is within the tolerance (never for NaN)."""
        return self.violation <= self.tolerance

    @property
    def strain(self) -> float:
        """Violation over tolerance: the worst claim has the largest; infinite for NaN."""
        ratio = self.violation / max(self.tolerance, 1e-300)
        return math.inf if math.isnan(ratio) else ratio

    def __str__(self) -> str:
        """Return e.g. ``ok    σ²: 0.666667 = 0.666667 (gap 1e-16, tolerance 1e-09)``."""
        error = "" if self.stderr is None else f", stderr {self.stderr:.2g}"
        return (
            f"{'ok  ' if self.holds else 'FAIL'}  {self.name}: {self.left:.7g} {self.sense} {self.right:.7g}  "
            f"(gap {self.gap:+.2g}, tolerance {self.tolerance:.2g}{error})"
        )


def statistical(
    name: str,
    left: float,
    right: float,
    stderr: float,
    *,
    bias: float = 0.0,
    sense: Sense = "=",
    false_positive: float = FALSE_POSITIVE,
) -> Claim:
    """Return a claim about an estimate, its tolerance bias + z·stderr with P(|N(0,1)| > z) = false_positive.

    Args:
        name: What is compared.
        left: Left side.
        right: Right side.
        stderr: Standard error of left − right, from at least some hundred independent draws (so that it is
            Gaussian and itself known).
        bias: Known bound on a deterministic error (of a discretisation, say).
        sense: "=", "≤" or "≥"; a one-sided claim takes the one-sided quantile.
        false_positive: Chance that a true claim is reported as failing.
    """
    tail = false_positive / 2 if sense == "=" else false_positive
    return Claim(name, left, right, bias + NormalDist().inv_cdf(1 - tail) * stderr, stderr, sense)


@dataclass(frozen=True)
class Evidence:
    """What a check found: the two sides of its most strained claim, and every claim made.

    Args:
        id: Number of the relation.
        statement: The theorem in a sentence.
        left: Left side of the most strained claim.
        right: Its right side.
        gap: left − right.
        tolerance: What rounding or sampling explains.
        holds: Whether every claim holds.
        source: Where the theorem is proved.
        stderr: Standard error of the gap, where it is random.
        details: Further numbers worth reporting.
        claims: All claims, in the order they were made.
    """

    id: int
    statement: str
    left: float
    right: float
    gap: float
    tolerance: float
    holds: bool
    source: str
    stderr: float | None = None
    details: dict[str, object] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()

    def __str__(self) -> str:
        """Return verdict, statement, source, the claims line by line, and the details."""
        lines = [f"{self.id}. {self.statement}: {'holds' if self.holds else 'FAILS'}  [{self.source}]"]
        lines += [f"   {claim}" for claim in self.claims]
        lines += [f"   {name}: {value}" for name, value in self.details.items()]
        return "\n".join(lines)
