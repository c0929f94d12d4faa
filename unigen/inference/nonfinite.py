"""Finding the first tensor that is not finite: among named ones, or among the sites of a Pyro program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import apply_stack
from torch import Tensor


class SiteWatch:
    """Records the first sample site whose value or log density is not finite, in the order the sites are met.

    It stands in for Pyro's ``apply_stack``, since losses of unigen run isolated from the caller's handlers.
    """

    def __init__(self) -> None:
        self.found: str | None = None

    def __call__(self, msg: Any) -> None:
        """Let Pyro handle the message, then look at the site."""
        apply_stack(msg)
        fn, value = msg["fn"], msg["value"]
        if self.found or msg["type"] != "sample" or type(fn).__name__ == "_Subsample":
            return
        role = "observed site" if msg["is_observed"] else "latent site"
        self.found = describe(f"{role} '{msg['name']}': value", value)
        if self.found is None:
            try:
                logp = fn.log_prob(value)
            except (NotImplementedError, ValueError, RuntimeError):
                return  # no density, or a value outside the support
            self.found = describe(f"{role} '{msg['name']}': log density", logp)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the sites of what runs inside."""
        with patch("pyro.primitives.apply_stack", self), Messenger():
            yield


def first(named: Iterable[tuple[str, Tensor]]) -> str | None:
    """Return the description of the first tensor that is not finite, or None."""
    return next((text for name, t in named if (text := describe(name, t)) is not None), None)


def describe(name: str, t: Tensor) -> str | None:
    """Return "name is nan (3 of 128 values)", or None if all values are finite."""
    t = t.detach()
    bad = ~torch.isfinite(t)
    count = int(bad.sum())
    if count == 0:
        return None
    kind = "nan" if bool(torch.isnan(t).any()) else "inf"
    return f"{name} is {kind} ({count} of {t.numel()} values)"
