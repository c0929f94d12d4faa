"""Series with times of their own, aligned: every value in its place, NaN elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unigen.data.series import align_series
from unigen.errors import ArgumentError, DTypeError, EmptyDataError, ShapeError


def test_every_value_is_where_its_time_is():
    rng = np.random.default_rng(0)
    series = [(np.sort(rng.uniform(0, 5, m)), rng.normal(size=(m, 2))) for m in (3, 7, 1)]
    times, x = align_series(series)
    assert x.shape == (3, 11, 2) and x.dtype is torch.float64
    assert list(times) == sorted(times) and len(set(times)) == len(times)
    for row, (stamps, values) in zip(x, series, strict=True):
        at = [times.index(t) for t in stamps]
        np.testing.assert_array_equal(row[at].numpy(), values)
        assert int(row.isnan().sum()) == 2 * (11 - len(stamps))


def test_a_resolution_shortens_the_union():
    times, x = align_series([([0.01, 1.04], [[1.0], [2.0]]), ([0.97], [[3.0]])], resolution=0.5)
    assert times == (0.0, 1.0) and x[..., 0].tolist()[0] == [1.0, 2.0] and float(x[1, 1, 0]) == 3.0
    assert x.dtype is torch.get_default_dtype()
    with pytest.raises(ArgumentError, match="fall together"):
        align_series([([0.0, 0.1], [[1.0], [2.0]])], resolution=1.0)


@pytest.mark.parametrize(
    ("series", "error", "message"),
    [
        ([], EmptyDataError, "no series"),
        ([([1.0, 0.0], [[1.0], [2.0]])], ArgumentError, "increasing"),
        ([([0.0, float("nan")], [[1.0], [2.0]])], ArgumentError, "finite"),
        ([([0.0, 1.0], [[1.0]])], ShapeError, "2 times"),
        ([([0.0], [1.0])], ShapeError, "values"),
        ([([0.0], [[1.0]]), ([0.0], [[1.0, 2.0]])], ShapeError, "different numbers"),
        ([([0.0], "x")], DTypeError, "series 0"),
    ],
)
def test_bad_series_are_refused(series, error, message):
    with pytest.raises(error, match=message):
        align_series(series)
    with pytest.raises(ArgumentError, match="resolution"):
        align_series([([0.0], [[1.0]])], resolution=-1.0)
