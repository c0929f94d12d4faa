"""The figure of a predictive check: one panel a statistic, the data's line where it belongs."""

from __future__ import annotations

import pytest

from unigen.errors import EmptyDataError
from unigen.plots.predictive import replicate_figure


def test_panels_and_lines():
    fig = replicate_figure({"mean": [0.0, 1.0] * 10, "largest": [2.0] * 20}, {"mean": 0.5, "largest": 3.0})
    assert [axes.get_title(loc="left") for axes in fig.axes] == ["mean", "largest"]
    assert [next(iter(axes.lines[0].get_xdata())) for axes in fig.axes] == [0.5, 3.0]  # pyright: ignore
    with pytest.raises(EmptyDataError):
        replicate_figure({}, {})
