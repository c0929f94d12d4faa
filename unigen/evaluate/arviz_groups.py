"""NumPy arrays as ArviZ groups, under ArviZ 0.x (``InferenceData``) and 1.x (``DataTree``); knows no program.

Axes of an array: (chain, draw) where a group has draws, plates inside an example, ``example``, then the event.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
WITHOUT_DRAWS = ("observed_data",)
WITHOUT_EXAMPLES = ("prior", "prior_predictive")
WITHOUT_EVENTS = ("log_likelihood", "sample_stats")


@dataclass(frozen=True)
class Variable:
    """What the axes of a variable mean.

    Args:
        local: Whether there is one value for each example.
        event: Number of event axes.
    """

    local: bool
    event: int


def axes(
    group: str,
    name: str,
    rank: int,
    variable: Variable | None,
    dims: Mapping[str, Sequence[str]],
    without_examples: Sequence[str] = WITHOUT_EXAMPLES,
) -> list[str]:
    """Return the names of an array's axes after (chain, draw).

    Args:
        group: Name of the group.
        name: Name of the variable.
        rank: Number of axes to name.
        variable: What they mean; None for a statistic of all examples together.
        dims: The user's names of event axes; ``<name>_dim_i`` otherwise.
        without_examples: Groups whose draws are one example each.

    Returns:
        ``rank`` names.

    Example:
        >>> axes("posterior", "z", 2, Variable(True, 1), {"z": ["factor"]})
        ['example', 'factor']
    """
    if variable is None:
        return [f"{name}_dim_{i}" for i in range(rank)]
    event = 0 if group in WITHOUT_EVENTS and rank <= variable.local else variable.event
    last = list(dims.get(name, ())) or [f"{name}_dim_{i}" for i in range(event)]
    example = ["example"] if variable.local and group not in without_examples else []
    plates = [f"{name}_plate_{i}" for i in range(rank - event - len(example))]
    return [*plates, *example, *last[:event]]


def build(
    groups: Mapping[str, Arrays],
    variables: Mapping[str, Variable],
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    without_examples: Sequence[str] = WITHOUT_EXAMPLES,
) -> Any:
    """Return the groups as whichever ArviZ is installed holds them.

    Args:
        groups: Arrays by group and variable; (chain, draw, ...), or without them in ``observed_data``.
        variables: What the axes of each variable mean.
        coords: Coordinate values by dimension name.
        dims: Names of the event axes by variable.
        without_examples: Groups whose draws are one example each.

    Returns:
        ``arviz.InferenceData`` or ``xarray.DataTree``.
    """
    arviz: Any = importlib.import_module("arviz")  # two versions with different signatures
    new = int(arviz.__version__.split(".")[0]) >= 1
    result: Any = None
    for group, arrays in groups.items():
        lead = 0 if group in WITHOUT_DRAWS else 2
        names = {
            name: axes(group, name, array.ndim - lead, variables.get(name), dims or {}, without_examples)
            for name, array in arrays.items()
        }
        used = {axis for each in names.values() for axis in each}
        values = {axis: list(v) for axis, v in (coords or {}).items() if axis in used}
        options: dict[str, Any] = {"coords": values, "dims": names}
        part = (
            arviz.from_dict({group: arrays}, **options)
            if new
            else arviz.from_dict(**{group: arrays}, **options)
        )
        if result is None:
            result = part
        elif new:
            result[group] = part[group]
        else:
            result.extend(part)
    return result
