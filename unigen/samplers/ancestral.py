"""Ancestral sampling: run the model forward, z before x."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from unigen.queries import ancestral
from unigen.samplers.sampler import Sampler

if TYPE_CHECKING:
    from unigen.program import Program


class Ancestral(Sampler):
    """z ~ p(z), x ~ p(x | z): exact draws from any program whose sites can be drawn."""

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return n draws, shape (n, *event_shape)."""
        return ancestral(program, n, context)
