"""Plain data as JSON that every reader accepts: no NaN, no infinity."""

from __future__ import annotations

import json
import math
from typing import Any


def _finite(node: Any) -> Any:
    if isinstance(node, float):
        return node if math.isfinite(node) else None
    if isinstance(node, dict):
        return {str(key): _finite(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_finite(value) for value in node]
    return node


def to_json(payload: Any) -> str:
    """Return indented JSON; numbers that are not finite become null.

    Example:
        >>> to_json([1.5, float("nan")]).split()
        ['[', '1.5,', 'null', ']']
    """
    return json.dumps(_finite(payload), indent=2, allow_nan=False)
