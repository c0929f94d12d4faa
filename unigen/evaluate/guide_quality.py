"""How good a guide is as a proposal for its posterior: effective sample size and Pareto-k, example by example."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.evaluate.pareto import LEAST, smooth, threshold
from unigen.logprob import Kind
from unigen.plots.diagnostics import pareto_figure
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.traces import log_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH = 65_536  # draws times examples held at once


@dataclass(frozen=True, eq=False)
class GuideQuality:
    """Importance diagnostics of q(z | x_i) against p(z | x_i).

    Args:
        efficiency: ESS/S = (Σ w)² / (S Σ w²), shape (N,), a fraction; 1/(1 + χ²(p‖q)) as S → ∞.
        k: Shape of the Pareto tail of w, shape (N,), without unit; −∞ for constant weights.
        samples: Draws S an example.
    """

    efficiency: Tensor
    k: Tensor
    samples: int

    @property
    def ess(self) -> Tensor:
        """Effective sample size of S draws, shape (N,), in draws."""
        return self.efficiency * self.samples

    @property
    def threshold(self) -> float:
        """Largest k at which S draws suffice."""
        return threshold(self.samples)

    @property
    def verdict(self) -> str:
        """What the examples above the threshold allow to conclude, in words."""
        k, limit = self.k, self.threshold
        bad, hopeless = int((k > limit).sum()), int((k > 1.0).sum())
        n = k.numel()
        if bad == 0:
            return f"k ≤ {limit:.2f} at all {n} examples: importance sampling from the guide can be trusted"
        if hopeless == 0:
            return (
                f"k > {limit:.2f} at {bad} of {n} examples: their weights have a mean but {self.samples} draws do not "
                "reach it; take more draws, or density=ug.AIS(…)"
            )
        return (
            f"k > 1 at {hopeless} of {n} examples ({bad} above {limit:.2f}): their weights may have no mean, the guide "
            "is too narrow or elsewhere; a wider guide, or density=ug.AIS(…, from_prior=True)"
        )

    def __str__(self) -> str:
        """Write medians, extremes and the verdict."""
        e = self.efficiency
        return (
            f"ESS/S median {e.median():.3f}, least {e.min():.3g}; Pareto-k median {self.k.median():.2f}, "
            f"largest {self.k.max():.2f} (S={self.samples}, N={self.k.numel()}). {self.verdict}"
        )

    def plot(self) -> Figure:
        """Draw k of each example against its rank, with the thresholds."""
        return pareto_figure(self.k.tolist(), self.threshold)


def guide_quality(
    program: Program, x: object, context: object = None, *, samples: int = 1000, seed: int | None = None
) -> GuideQuality:
    """Weigh draws of the guide by p(x, z) / q(z | x) and say how far they can be trusted.

    ESS = (Σ_s w_s)² / Σ_s w_s²,    ESS/S → 1 / (1 + χ²(p(z|x) ‖ q(z|x))),    k from the largest w_s.

    Args:
        program: A program whose latents all belong to one example.
        x: Data, shape (N, *event_shape).
        context: Shape (N, C) for a conditional program.
        samples: Draws S an example, at least 25.
        seed: Reproduces the draws.

    Returns:
        GuideQuality of N examples.

    Raises:
        ArgumentError: Too few draws.
        UnsupportedQueryError: No latent, a shared one, or a density that is only a bound.

    References:
        Agapiou et al. 2017; Yao, Vehtari, Simpson & Gelman, Yes, but did it work?, 2018; Vehtari et al. 2024.

    Example:
        >>> import unigen as ug
        >>> found = guide_quality(ug.PPCA(features=3, latents=1), torch.randn(4, 3), samples=100, seed=0)
        >>> bool((found.efficiency > 0.999).all())  # an exact posterior
        True
    """
    if samples < LEAST:
        raise ArgumentError(program=program.name, site="samples", got=samples, expected=f"≥ {LEAST}")
    if not program.structure.latents or program.structure.shared:
        raise UnsupportedQueryError(
            "weights of each example need latents inside the plate, and none outside it", program=program.name
        )
    rows, c = program.check_batch(x, context)
    size, parts = max(1, BATCH // samples), []
    with evaluating(program), seeded(seed, program.device), torch.no_grad():
        for i in range(0, rows.shape[0], size):
            some, given = rows[i : i + size], None if c is None else c[i : i + size]
            weights = log_weights(
                functools.partial(program.model, some, given, some.shape[0]),
                functools.partial(program.guide, some, given, some.shape[0]),
                samples=samples,
                nesting=program.structure.nesting,
            )
            if weights.kind not in (Kind.EXACT, Kind.UNNORMALISED):
                raise UnsupportedQueryError(
                    "weights with noise of their own say nothing of the guide alone",
                    program=program.name,
                    got=f"kind {weights.kind}",
                )
            parts.append(weights.local)
    log_w = torch.cat(parts, 1).double()
    efficiency = (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp() / samples
    return GuideQuality(efficiency, smooth(log_w)[1], samples)
