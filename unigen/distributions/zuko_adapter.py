"""The only file that imports zuko; it undoes what the import does to the rest of the process.

Importing ``zuko.distributions`` executes ``Distribution._validate_args = False`` and
``Distribution.arg_constraints = {}`` on torch's base class: from then on no torch or Pyro distribution checks
its arguments. Both attributes are put back as they were found. Zuko's own classes, written for the changed
base, keep the empty ``arg_constraints`` for themselves, so that they still work for whoever uses them.

If zuko was imported before this file, validation is already off by somebody else's choice and stays so.
"""

from __future__ import annotations

import sys
from typing import Any

from torch import nn
from torch.distributions import Distribution

_before = {name: Distribution.__dict__[name] for name in ("_validate_args", "arg_constraints")}
_loaded = "zuko.distributions" in sys.modules

import zuko.distributions  # noqa: E402
import zuko.flows  # noqa: E402
from zuko.nn import MLP, MaskedMLP  # noqa: E402
from zuko.transforms import (  # noqa: E402
    ComposedTransform,
    MonotonicAffineTransform,
    MonotonicRQSTransform,
)

__all__ = ["MLP", "ComposedTransform", "MaskedMLP", "MonotonicAffineTransform", "MonotonicRQSTransform"]


def zuko_flows() -> dict[str, type]:
    """Return zuko's flows by name."""
    found = vars(zuko.flows).items()
    return {
        name: cls
        for name, cls in found
        if isinstance(cls, type) and issubclass(cls, zuko.flows.Flow) and cls is not zuko.flows.Flow
    }


def zuko_flow(name: str, features: int, context: int, options: dict[str, Any]) -> nn.Module:
    """Return the lazy transform of a flow of zuko: called with a context it gives a ``Transform``."""
    return zuko_flows()[name](features, context, **options).transform


def _restore() -> None:
    """Give torch's base class its attributes back and zuko's classes the empty constraints they expect."""
    Distribution._validate_args = _before["_validate_args"]
    Distribution.arg_constraints = _before["arg_constraints"]  # pyright: ignore[reportAttributeAccessIssue]
    for cls in vars(zuko.distributions).values():
        if isinstance(cls, type) and cls.__module__ == zuko.distributions.__name__:
            owner = next(base for base in cls.__mro__ if "arg_constraints" in base.__dict__)
            if owner is Distribution:
                cls.arg_constraints = {}  # pyright: ignore[reportAttributeAccessIssue]


if not _loaded:
    _restore()
