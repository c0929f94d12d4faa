"""Rate and distortion of latent-variable programs, and the curve that a sweep of β draws.

R = E KL( q(z | x) ‖ p(z) ),    D = −E_q log p(x | z),    −ELBO = R + D ≥ H,    H the entropy of the data.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.errors import ArgumentError, EmptyDataError, KindError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.plots.diagnostics import rate_distortion_figure
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.traces import log_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH = 4096  # draws times examples held at once


@dataclass(frozen=True, eq=False)
class RateDistortion:
    """Rate and distortion of one program on some data, example by example.

    Args:
        rate: KL(q(z | x_i) ‖ p(z)) in nats, shape (N,).
        distortion: −E_q log p(x_i | z) in nats, shape (N,).
        kind: Kind of the rate: exact (up to Monte Carlo), or a bound where the prior's density is one.
    """

    rate: Tensor
    distortion: Tensor
    kind: Kind

    @property
    def means(self) -> tuple[float, float]:
        """Mean rate and distortion in nats an example."""
        return self.rate.double().mean().item(), self.distortion.double().mean().item()

    @property
    def stderr(self) -> tuple[float, float]:
        """Standard errors of the two means over the examples, in nats."""
        r, d = (v.double().std().item() / math.sqrt(v.numel()) for v in (self.rate, self.distortion))
        return r, d

    @property
    def elbo(self) -> float:
        """−R − D, the mean ELBO in nats an example."""
        return -sum(self.means)

    def __str__(self) -> str:
        """Write both with their errors."""
        (r, d), (dr, dd) = self.means, self.stderr
        return (
            f"rate {r:.5g} ± {dr:.2g} nats ({self.kind}), distortion {d:.5g} ± {dd:.2g} nats, "
            f"ELBO {self.elbo:.6g} nats (n={self.rate.numel()})"
        )


@dataclass(frozen=True, eq=False)
class RateDistortionCurve:
    """Points of a sweep.

    Args:
        points: Rate and distortion by β.
        entropy: Entropy of the data in nats, where known: R + D ≥ H.
    """

    points: Mapping[float, RateDistortion]
    entropy: float | None = None

    def __str__(self) -> str:
        """Write one line a β."""
        return "\n".join(f"β={beta:g}: {point}" for beta, point in sorted(self.points.items()))

    def plot(self) -> Figure:
        """Draw distortion against rate, in nats, each point with its β."""
        order = sorted(self.points)
        r, d = zip(*(self.points[beta].means for beta in order), strict=True)
        return rate_distortion_figure(r, d, [f"β={beta:g}" for beta in order], self.entropy)


def rate_distortion(
    program: Program, x: object, context: object = None, *, samples: int = 16, seed: int | None = None
) -> RateDistortion:
    """Return rate and distortion of each example; the KL in closed form where torch knows it.

    Args:
        program: A program whose latents all belong to one example.
        x: Data, shape (N, *event_shape), N ≥ 2.
        context: Shape (N, C) for a conditional program.
        samples: Draws of z an example.
        seed: Of these.

    Returns:
        RateDistortion in nats.

    Raises:
        ArgumentError: samples < 1.
        EmptyDataError: One example.
        UnsupportedQueryError: No latents inside the plate.
        KindError: The prior's density is unnormalised: the rate is known up to log Z only.

    References:
        Alemi et al., Fixing a broken ELBO, 2018.

    Example:
        >>> import unigen as ug
        >>> ppca = ug.PPCA(features=3, latents=1)
        >>> x = ppca.sample(50, seed=0)
        >>> found = rate_distortion(ppca, x, samples=4, seed=0)
        >>> abs(found.elbo - ppca.log_prob(x).mean().value) < 0.2  # its guide is exact
        True
    """
    if samples < 1:
        raise ArgumentError(program=program.name, site="samples", got=samples, expected="≥ 1")
    if not program.structure.latents or program.structure.shared:
        raise UnsupportedQueryError(
            "a rate needs latents inside the plate, none outside it", program=program.name
        )
    rows, c = program.check_batch(x, context)
    if rows.shape[0] < 2:
        raise EmptyDataError(program=program.name, site="x", got="1 example", expected="at least two")
    rates, distortions, kind = [], [], Kind.EXACT
    size = max(1, BATCH // samples)
    with evaluating(program), seeded(seed, program.device), torch.no_grad():
        for i in range(0, rows.shape[0], size):
            part, given = rows[i : i + size], None if c is None else c[i : i + size]
            weights = log_weights(
                functools.partial(program.model, part, given, part.shape[0]),
                functools.partial(program.guide, part, given, part.shape[0]),
                samples=samples,
                nesting=program.structure.nesting,
                analytic=True,
            )
            reconstruction = weights.parts[program.observed].expand(weights.local.shape)
            distortions.append(-reconstruction.mean(0))
            rates.append((reconstruction - weights.local).mean(0))
            kind = weights.kind
    if not kind.normalised:
        raise KindError(
            "the rate under an unnormalised prior is known up to log Z only", program=program.name
        )
    return RateDistortion(torch.cat(rates), torch.cat(distortions), -kind)


def rate_distortion_curve(
    programs: Mapping[float, Program] | Callable[[float], Program],
    x: object,
    context: object = None,
    *,
    betas: Sequence[float] = (),
    entropy: float | None = None,
    samples: int = 16,
    seed: int | None = None,
) -> RateDistortionCurve:
    """Return rate and distortion of programs trained at several β.

    Args:
        programs: Fitted programs by β, or a function of β that returns one.
        x: Data, shape (N, *event_shape).
        context: Shape (N, C) for conditional programs.
        betas: Where the function is called.
        entropy: Entropy of the data in nats, where known.
        samples: Draws of z an example.
        seed: Of these.

    Returns:
        RateDistortionCurve.

    Raises:
        ArgumentError: No β.
    """
    if callable(programs):
        programs = {float(beta): programs(beta) for beta in betas}
    if not programs:
        raise ArgumentError(site="betas", got="none", expected="at least one β")
    points = {
        beta: rate_distortion(program, x, context, samples=samples, seed=seed)
        for beta, program in programs.items()
    }
    return RateDistortionCurve(points, entropy)
