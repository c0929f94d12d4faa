"""Diagnostics of inference: Pareto-k, ranks against their band, rate–distortion curves, latent dimensions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from unigen.errors import EmptyDataError
from unigen.plots.style import COLOURS, FAINT, GREY, figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = Sequence[float]


def pareto_figure(k: Curve, threshold: float) -> Figure:
    """Draw Pareto-k of each example in increasing order, with the threshold of trust and 1, where the mean ends.

    Args:
        k: Shape parameters, without unit; −∞ (constant weights) is drawn at the bottom.
        threshold: Largest k at which the draws suffice.

    Returns:
        A figure with one axes.

    Raises:
        EmptyDataError: No examples.

    Example:
        >>> pareto_figure([0.1, 0.8], 0.7).axes[0].get_ylabel()
        'Pareto-k'
    """
    if not k:
        raise EmptyDataError(site="k", got="no examples", expected="at least one")
    lowest = min([v for v in k if math.isfinite(v)], default=0.0) - 0.1
    heights = sorted(v if math.isfinite(v) else (lowest if v < 0 else 2.0) for v in k)
    with style():
        fig = figure(4.6, 2.8)
        axes = fig.subplots()
        axes.scatter(range(1, len(heights) + 1), heights, s=10, color=COLOURS[0])
        for value, text in ((threshold, f"{threshold:.2f}: draws suffice below"), (1.0, "1: no mean above")):
            axes.axhline(value, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.annotate(text, (0.01, value), xycoords=("axes fraction", "data"), xytext=(0, 3),
                          textcoords="offset points", color=GREY, fontsize=8)  # fmt: skip
        axes.set_ylim(top=max(1.2, heights[-1] + 0.1))
        axes.set_xlabel("example, by rank")
        axes.set_ylabel("Pareto-k")
    return fig


def rank_figure(
    points: Curve, differences: Mapping[str, Curve], lower: Curve, upper: Curve, level: float
) -> Figure:
    """Draw the difference between the ECDF of ranks and the uniform, inside its simultaneous band.

    Args:
        points: Where it is evaluated, in [0, 1].
        differences: By quantity, ECDF − uniform at each point.
        lower: Lower edge of the band of the difference.
        upper: Upper edge.
        level: Probability that a calibrated quantity stays inside everywhere.

    Returns:
        A figure with one axes.

    Example:
        >>> rank_figure([0.5, 1.0], {"z": [0.01, 0.0]}, [-0.1, 0.0], [0.1, 0.0], 0.95).axes[0].get_xlabel()
        'fractional rank'
    """
    with style():
        fig = figure(4.6, 3.0)
        axes = fig.subplots()
        axes.fill_between(points, lower, upper, color=FAINT, step=None, label=f"{level:.0%} band")
        for i, (name, curve) in enumerate(differences.items()):
            outside = any(not lo <= d <= up for d, lo, up in zip(curve, lower, upper, strict=True))
            colour = COLOURS[i % len(COLOURS)] if outside else GREY
            axes.plot(
                points,
                curve,
                color=colour,
                linewidth=1.4 if outside else 0.8,
                label=name if outside else None,
            )
        axes.axhline(0.0, color=GREY, linewidth=0.7)
        axes.set_xlabel("fractional rank")
        axes.set_ylabel("ECDF − uniform")
        axes.legend(loc="upper right")
    return fig


def rate_distortion_figure(
    rate: Curve, distortion: Curve, labels: Sequence[str], entropy: float | None = None
) -> Figure:
    """Draw distortion against rate, with the line R + D = H where an entropy is known.

    Args:
        rate: E KL(q(z|x)‖p(z)) in nats.
        distortion: −E log p(x|z) in nats.
        labels: One a point (its β).
        entropy: H of the data in nats: no model lies below the line R + D = H.

    Returns:
        A figure with one axes.

    Raises:
        EmptyDataError: No points.

    Example:
        >>> rate_distortion_figure([0.0, 1.0], [3.0, 2.0], ["4", "1"]).axes[0].get_xlabel()
        'rate (nats)'
    """
    if not rate:
        raise EmptyDataError(site="rate", got="no points", expected="at least one")
    with style():
        fig = figure(4.2, 3.2)
        axes = fig.subplots()
        axes.plot(rate, distortion, color=COLOURS[0], marker="o", markersize=4)
        for r, d, text in zip(rate, distortion, labels, strict=True):
            axes.annotate(text, (r, d), xytext=(4, 4), textcoords="offset points", color=GREY, fontsize=8)
        if entropy is not None:
            ends = [min(rate), max(rate)]
            axes.plot(
                ends,
                [entropy - r for r in ends],
                color=GREY,
                linewidth=0.9,
                linestyle=(0, (4, 3)),
                label="R + D = H",
            )
            axes.legend(loc="upper right")
        axes.set_xlabel("rate (nats)")
        axes.set_ylabel("distortion (nats)")
    return fig


def dimensions_figure(kl: Curve, active: Sequence[bool]) -> Figure:
    """Draw the KL of each latent dimension, active ones in colour, in decreasing order.

    Args:
        kl: Mean KL of each dimension, in nats.
        active: Whether it is used.

    Returns:
        A figure with one axes.

    Raises:
        EmptyDataError: No dimensions.

    Example:
        >>> len(dimensions_figure([1.0, 0.0], [True, False]).axes[0].patches)
        2
    """
    if not kl:
        raise EmptyDataError(site="kl", got="no dimensions", expected="at least one")
    order = sorted(range(len(kl)), key=lambda i: -kl[i])
    with style():
        fig = figure(max(3.0, 0.25 * len(kl) + 1.5), 2.6)
        axes = fig.subplots()
        colours = [COLOURS[0] if active[i] else GREY for i in order]
        axes.bar(range(len(kl)), [kl[i] for i in order], color=colours)
        axes.set_xticks(range(len(kl)), [str(i) for i in order])
        axes.set_xlabel("latent dimension")
        axes.set_ylabel("KL to the prior (nats)")
    return fig
