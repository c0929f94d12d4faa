from __future__ import annotations

import math

import numpy as np
import pytest

from unigen.errors import EmptyDataError
from unigen.plots.scores import scores


def test_finite_scores_and_the_choice_are_drawn() -> None:
    (axes,) = scores([1, 2, 4], [-3.0, -1.0, -math.inf], 2, title="BIC").axes
    marked, curve = axes.get_lines()
    np.testing.assert_array_equal(curve.get_xydata(), [[1, -3.0], [2, -1.0]])
    assert set(np.asarray(marked.get_xdata()).tolist()) == {2}
    assert (axes.get_xlabel(), axes.get_title(loc="left")) == ("latents", "BIC")


def test_standard_errors_are_bars() -> None:
    (axes,) = scores([1, 2], [-3.0, -1.0], 2, stderr=[0.1, 0.2]).axes
    assert len(axes.containers) == 1


def test_nothing_to_draw() -> None:
    with pytest.raises(EmptyDataError):
        scores([1], [-math.inf], 1)
