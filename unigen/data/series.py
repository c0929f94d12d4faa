"""Irregular time series, each with times of its own, on one list of times: NaN where a series was not observed."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from unigen.checks import as_tensor
from unigen.errors import ArgumentError, EmptyDataError, ShapeError

NAME = "align_series"


def _checked(i: int, times: object, values: object) -> tuple[list[float], Tensor]:
    """Return the times and values of series i, or refuse them."""
    x = as_tensor(values, NAME, f"series {i}")
    x = x.to(torch.get_default_dtype()) if isinstance(values, (list, tuple)) else x
    stamps = [float(t) for t in as_tensor(times, NAME, f"times of series {i}").double().flatten().tolist()]
    if x.dim() != 2 or x.shape[0] != len(stamps):
        got, expected = f"{len(stamps)} times and values {tuple(x.shape)}", "(M,) and (M, D)"
        raise ShapeError(
            program=NAME, site=f"series {i}", got=got, expected=expected, hint="values[:, None] if D = 1"
        )
    if not all(map(math.isfinite, stamps)) or any(a >= b for a, b in zip(stamps, stamps[1:], strict=False)):
        hint = "sort times and values together"
        raise ArgumentError(
            "times must be finite and strictly increasing", program=NAME, site=f"series {i}", hint=hint
        )
    return stamps, x


def align_series(
    series: Iterable[tuple[object, object]], *, resolution: float | None = None
) -> tuple[tuple[float, ...], Tensor]:
    """Put series with times of their own on the sorted union of all times.

    Args:
        series: Pairs (times (M_i,), values (M_i, D)), times increasing.
        resolution: Round times to multiples of it, so that the union stays short; exact times if omitted.

    Returns:
        The union of the times, T numbers, and x of shape (N, T, D), NaN where a series has no observation.

    Raises:
        EmptyDataError: No series, or one without observations.
        ShapeError: Times and values do not match, or series differ in D.
        ArgumentError: Times do not increase, or two of one series fall together under the resolution.

    Example:
        >>> times, x = align_series([([0.0, 2.0], [[1.0], [2.0]]), ([1.0], [[5.0]])])
        >>> times, x[..., 0]
        ((0.0, 1.0, 2.0), tensor([[1., nan, 2.],
                [nan, 5., nan]]))
    """
    if resolution is not None and not 0.0 < resolution < math.inf:
        raise ArgumentError(program=NAME, site="resolution", got=resolution, expected="> 0")
    rows = [_checked(i, times, values) for i, (times, values) in enumerate(series)]
    if not rows or not all(stamps for stamps, _ in rows):
        raise EmptyDataError(program=NAME, got="a series without observations" if rows else "no series")
    width = rows[0][1].shape[1]
    if any(values.shape[1] != width for _, values in rows):
        got = sorted({values.shape[1] for _, values in rows})
        raise ShapeError("series have different numbers of features", program=NAME, got=got, expected=width)
    if resolution is not None:
        rows = [([round(t / resolution) * resolution for t in stamps], values) for stamps, values in rows]
        for i, (stamps, _) in enumerate(rows):
            if len(set(stamps)) < len(stamps):
                raise ArgumentError(
                    "two observations of one series fall together", program=NAME, site=f"series {i}",
                    got=f"resolution={resolution:g}", hint="a smaller resolution",
                )  # fmt: skip
    union = sorted({t for stamps, _ in rows for t in stamps})
    place = {t: k for k, t in enumerate(union)}
    dtype = rows[0][1].dtype if rows[0][1].dtype.is_floating_point else torch.get_default_dtype()
    x = torch.full((len(rows), len(union), width), math.nan, dtype=dtype)
    for i, (stamps, values) in enumerate(rows):
        x[i, [place[t] for t in stamps]] = values.to(dtype)
    return tuple(union), x
