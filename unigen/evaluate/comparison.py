"""Programs compared on held-out data by their log-probabilities, pair by pair and kind by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unigen.errors import ArgumentError, KindError, NoDensityError
from unigen.logprob import Comparison, LogProb
from unigen.program import Program


@dataclass(frozen=True, eq=False)
class ComparisonTable:
    """Held-out log-probabilities of several programs, the largest mean first.

    Args:
        scores: By name, in nats; those without a normalised density last.
        differences: By name, the first program minus this one on the same examples, or why there is none.
    """

    scores: Mapping[str, LogProb | str]
    differences: Mapping[str, Comparison | str]

    def __str__(self) -> str:
        """Write one line a program: its mean, and what the paired difference from the first proves."""
        width = max(len(name) for name in self.scores)
        rows = []
        for name, score in self.scores.items():
            text = score if isinstance(score, str) else str(score.mean())
            against = self.differences.get(name)
            rows.append(
                f"{name:<{width}}  {text}" + ("" if against is None else f"  | first − this: {against}")
            )
        return "\n".join(rows)


def compare(programs: Mapping[str, Program], x: object, context: object = None) -> ComparisonTable:
    """Score programs on the same examples and compare each with the best by paired differences.

    Δ = 1/N Σ_i (log p_1(x_i) − log p_k(x_i)),    with its standard error over the examples, and its kind.

    Two bounds of one sense are not compared: the line says so, and what to do. Use data that no program was fitted to.

    Args:
        programs: Fitted programs by name.
        x: Held-out data, shape (N, *event_shape).
        context: Shape (N, C) for conditional programs.

    Returns:
        ComparisonTable in nats.

    Raises:
        ArgumentError: No programs.
        UnigenError: The data do not fit a program.

    Example:
        >>> import torch, unigen as ug
        >>> x = ug.PPCA(features=3, latents=1).sample(200, seed=0)
        >>> a, b = ug.PPCA(features=3, latents=1), ug.PPCA(features=3, latents=2)
        >>> a.solve(x), b.solve(x)
        (None, None)
        >>> len(compare({"one": a, "two": b}, x).differences)
        1
    """
    if not programs:
        raise ArgumentError(site="programs", got="none", expected="at least one")
    scored: dict[str, LogProb] = {}
    without: dict[str, LogProb | str] = {}
    for name, program in programs.items():
        try:
            value = program.log_prob(x, context)
        except NoDensityError as error:
            without[name] = f"no density: {error}"
            continue
        if value.kind.normalised:
            scored[name] = value
        else:
            without[name] = f"{value.kind}: known up to log Z only, which a two-sample test does not need"
    order = sorted(scored, key=lambda name: -scored[name].mean().value)
    differences: dict[str, Comparison | str] = {}
    for name in order[1:]:
        try:
            differences[name] = scored[order[0]].compare(scored[name])
        except KindError as error:
            differences[name] = f"not comparable: {error}"
    return ComparisonTable({name: scored[name] for name in order} | without, differences)
