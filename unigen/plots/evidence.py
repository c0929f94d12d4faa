"""Evidence as a picture: each claim's gap in units of its tolerance."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unigen.errors import EmptyDataError
from unigen.plots.style import COLOURS, GREY, figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from unigen.relations.evidence import Claim

EDGE = 2.6  # tolerances at which a gap is cut off, an arrow in its place
NAME = 46  # characters of a line of a claim's name


def _scaled(claim: Claim, number: float) -> float:
    """Express a number in tolerances, cut off at the edge; 0 over 0 is 0."""
    if claim.tolerance > 0:
        return max(-EDGE, min(EDGE, number / claim.tolerance))
    return 0.0 if number == 0 else EDGE * (1 if number > 0 else -1)


def _draw(axes: Axes, row: int, claim: Claim) -> None:
    """Draw a claim's band of tolerance, its gap with two standard errors, and both sides in numbers."""
    low, high = {"=": (-1.0, 1.0), "≤": (-EDGE, 1.0), "≥": (-1.0, EDGE)}[claim.sense]
    axes.barh(row, high - low, left=low, height=0.62, color="#DCEBE5", zorder=1)
    if claim.gap == claim.gap:
        place = _scaled(claim, claim.gap)
        marker = "o" if abs(place) < EDGE else (">" if place > 0 else "<")
        error = 0.0 if not claim.stderr else min(EDGE, 2 * claim.stderr / max(claim.tolerance, 1e-300))
        colour = COLOURS[2] if claim.holds else COLOURS[1]
        axes.errorbar(place, row, xerr=error, fmt=marker, color=colour, markersize=5, linewidth=1.2, zorder=3)
    text = f"{claim.left:.6g} {claim.sense} {claim.right:.6g}"
    axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=7.5)


def evidence_figure(claims: Sequence[Claim], title: str = "") -> Figure:
    """Draw claims as rows: the gap left − right in units of the tolerance, with two standard errors, and both sides.

    A gap inside the tinted band holds; an arrow at the edge stands for one beyond 2.6 tolerances.

    Args:
        claims: What was compared.
        title: Above the rows.

    Returns:
        A figure with one axes.

    Raises:
        EmptyDataError: If there are no claims.

    Example:
        >>> from unigen.relations.evidence import Claim
        >>> fig = evidence_figure([Claim("half", 0.5, 0.5, 1e-9)])
        >>> [tick.get_text() for tick in fig.axes[0].get_yticklabels()]
        ['half']
    """
    if not claims:
        raise EmptyDataError(site="claims", got="no claims", expected="at least one")
    names = ["\n".join(textwrap.wrap(claim.name, NAME)) for claim in claims]
    height = sum(0.17 * name.count("\n") + 0.3 for name in names)
    heading = textwrap.fill(title, 84)
    with style():
        fig = figure(7.6, 0.75 + height + 0.17 * heading.count("\n"))
        axes = fig.subplots()
        for row, claim in enumerate(claims):
            _draw(axes, row, claim)
        axes.axvline(0.0, color=GREY, linewidth=0.8, zorder=2)
        axes.set(
            xlim=(-1.1 * EDGE, 1.1 * EDGE), ylim=(len(claims) - 0.4, -0.6), xlabel="gap / tolerance",
            yticks=range(len(claims)), yticklabels=names,
        )  # fmt: skip
        axes.grid(axis="y", visible=False)
        fig.suptitle(heading, x=0.01, ha="left", fontsize=10)
    return fig
