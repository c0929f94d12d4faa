"""Predictive checks: statistics of data against those of replicated data sets."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.errors import ArgumentError, NonFiniteError
from unigen.plots.predictive import replicate_figure
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.traces import draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Statistic = Callable[[Tensor], Tensor | float]  # of a data set (N, *event)


def _skewness(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return (centred.pow(3).mean(0) / centred.square().mean(0).clamp_min(1e-30).pow(1.5)).mean()


STATISTICS: dict[str, Statistic] = {
    "mean": lambda x: x.mean(),
    "standard deviation": lambda x: x.std(0).mean(),
    "skewness": _skewness,
    "smallest": lambda x: x.min(),
    "largest": lambda x: x.max(),
}


@dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """Statistics of the data among those of replicated data sets, in the units of each statistic.

    Args:
        observed: T(x) by name.
        replicated: T(x_rep) by name, shape (replicates,).
    """

    observed: Mapping[str, float]
    replicated: Mapping[str, Tensor]

    @property
    def p_values(self) -> dict[str, float]:
        """Two-sided p by statistic: 2 min(Pr(T_rep ≥ T), Pr(T_rep ≤ T)), the data counted among the replicates.

        With parameters fitted to the same data they are not uniform but drawn towards ½: a small one is evidence, a
        large one is not.
        """
        found = {}
        for name, values in self.replicated.items():
            above, below = (values >= self.observed[name]).sum(), (values <= self.observed[name]).sum()
            found[name] = min(1.0, 2.0 * (1 + min(above, below).item()) / (1 + values.numel()))
        return found

    def __str__(self) -> str:
        """Write one line a statistic."""
        rows = [
            f"{name}: {self.observed[name]:.5g}, replicates {v.mean():.5g} ± {v.std():.2g} (sd), p = {p:.3g}"
            for (name, v), p in zip(self.replicated.items(), self.p_values.values(), strict=True)
        ]
        return "\n".join(rows)

    def plot(self) -> Figure:
        """Draw a histogram of the replicates of each statistic, the data as a line."""
        return replicate_figure({k: v.tolist() for k, v in self.replicated.items()}, self.observed)


def predictive_check(
    program: Program,
    x: object,
    context: object = None,
    *,
    statistics: Mapping[str, Statistic] | None = None,
    replicates: int = 200,
    seed: int | None = None,
) -> PredictiveCheck:
    """Compare statistics of data with those of as many examples drawn from the program, many times.

    x_rep ~ p(x_rep | θ, c),    θ the point estimate, or, for latents outside the plate, draws of q(θ | x).

    Args:
        program: A fitted program that can be sampled; it needs no density.
        x: Data, shape (N, *event_shape).
        context: Shape (N, C) for a conditional program; replicates keep it.
        statistics: T by name, each (N, *event_shape) -> a number; mean, standard deviation and skewness (averaged over
            features), smallest and largest if omitted.
        replicates: Number of replicated data sets.
        seed: Reproduces them.

    Returns:
        PredictiveCheck.

    Raises:
        ArgumentError: replicates < 1, or no statistics.
        NonFiniteError: A statistic is not a finite number.

    References:
        Rubin 1984; Gelman, Meng & Stern 1996.

    Example:
        >>> import unigen as ug
        >>> ppca = ug.PPCA(features=3, latents=1)
        >>> x = ppca.sample(100, seed=0)
        >>> min(predictive_check(ppca, x, replicates=50, seed=1).p_values.values()) > 0.01
        True
    """
    chosen = STATISTICS if statistics is None else dict(statistics)
    if replicates < 1 or not chosen:
        raise ArgumentError(
            program=program.name,
            site="replicates",
            got=f"{replicates}, {len(chosen)} statistics",
            expected="≥ 1",
        )
    rows, c = program.check_batch(x, context)
    observed = {name: _number(name, statistic, rows) for name, statistic in chosen.items()}
    found: dict[str, list[float]] = {name: [] for name in chosen}
    with evaluating(program), seeded(seed, program.device), torch.no_grad():
        for _ in range(replicates):
            again = _replicate(program, rows, c)
            for name, statistic in chosen.items():
                found[name].append(_number(name, statistic, again))
    return PredictiveCheck(observed, {k: torch.tensor(v, dtype=torch.float64) for k, v in found.items()})


def _replicate(program: Program, x: Tensor, context: Tensor | None) -> Tensor:
    """Return as many fresh examples as x has, under a fresh draw of what all examples share."""
    n, shared = x.shape[0], program.structure.shared
    if not shared:
        return program.draw(n, context)
    q = draw(functools.partial(program.guide, x, context, n))
    values = {site.name: q[site.name]["value"] for site in shared}
    return draw(functools.partial(program.model, None, context, n), values)[program.observed]["value"]


def _number(name: str, statistic: Statistic, x: Tensor) -> float:
    value = float(statistic(x))
    if not -float("inf") < value < float("inf"):
        raise NonFiniteError(site=name, got=value, expected="a finite statistic")
    return value
