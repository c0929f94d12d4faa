"""The batch shape of a site beside the plates it stands in."""

from __future__ import annotations

from typing import Any

import torch

from unigen.errors import SiteError


def check_plates(node: Any, shape: torch.Size) -> None:
    """Compare the batch shape of a site's distribution or log density with the plates it stands in.

    Raises:
        SiteError: A dimension belongs to no plate, as where ``.to_event(1)`` was forgotten.
    """
    dims = {frame.dim for frame in node["cond_indep_stack"]}
    if any(dim not in dims and shape[dim] != 1 for dim in range(-len(shape), 0)):
        raise SiteError(
            site=node["name"],
            got=f"batch shape {tuple(shape)}",
            expected=f"only dimensions of its plates, {sorted(d for d in dims if d is not None)}",
            hint="declare the rightmost dimensions with .to_event(1); keep those of plates when indexing, z[..., :1]",
        )
