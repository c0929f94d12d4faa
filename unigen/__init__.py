"""unigen: every generative model is a Pyro program. Names are imported when first used."""

from __future__ import annotations

import importlib
from typing import Any

from unigen.names import MODULES, did_you_mean, modules

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in MODULES:
        return importlib.import_module(f"unigen.{name}")
    table = modules()
    if name not in table:
        hint = did_you_mean(name, (*table, *MODULES), "see dir(unigen)")
        raise AttributeError(f"module 'unigen' has no attribute '{name}'; {hint}")
    value = getattr(importlib.import_module(table[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted([*modules(), *MODULES, "__version__"])
