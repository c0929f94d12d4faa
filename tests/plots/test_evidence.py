"""Each claim is a row whose point stands at gap over tolerance, inside its band exactly if the claim holds."""

from __future__ import annotations

import math

import pytest

from unigen.errors import EmptyDataError
from unigen.plots.evidence import EDGE, evidence_figure
from unigen.relations.evidence import Claim


def band(fig, row):
    patch = fig.axes[0].patches[row]
    return patch.get_x(), patch.get_x() + patch.get_width()


def places(fig):
    return [float(line.get_xdata()[0]) for line in fig.axes[0].lines if line.get_marker() not in ("None", "")]


@pytest.mark.parametrize(("claim", "place"), [
    (Claim("a", 1.5, 1.0, 1.0), 0.5), (Claim("b", 3.0, 1.0, 1.0), 2.0), (Claim("c", 9.0, 1.0, 1.0), EDGE),
    (Claim("d", -9.0, 1.0, 1.0, sense="≤"), -EDGE), (Claim("e", 0.5, 1.0, 1.0, 0.2, "≥"), -0.5),
    (Claim("f", 0.0, 0.0, 0.0), 0.0), (Claim("g", 0.1, 0.0, 0.0), EDGE),
])  # fmt: skip
def test_a_point_lies_in_its_band_exactly_if_the_claim_holds(claim, place):
    fig = evidence_figure([claim], "title")
    assert places(fig)[0] == pytest.approx(place)
    low, high = band(fig, 0)
    assert bool(low <= places(fig)[0] <= high) is claim.holds or claim.tolerance == 0
    fig.canvas.draw()


def test_rows_names_and_numbers():
    claims = [Claim("one", 1.25, 2.0, 1.0, sense="≤"), Claim("a name " * 12, math.nan, 0.0, 1.0)]
    fig = evidence_figure(claims, "a statement " * 12)
    (axes,) = fig.axes
    assert len(axes.get_yticklabels()) == 2 and len(places(fig)) == 1  # not a number has no place
    assert [text.get_text() for text in axes.texts] == ["1.25 ≤ 2", "nan = 0"]
    fig.canvas.draw()
    with pytest.raises(EmptyDataError):
        evidence_figure([])
