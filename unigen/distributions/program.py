"""A program as a distribution, so that it can be the prior, decoder or posterior of another program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions.constraints import Constraint

from unigen.errors import NoDensityError
from unigen.logprob import Kind

if TYPE_CHECKING:
    from unigen.program import Program


class ProgramDistribution(TorchDistribution):
    """p(x | context) of a program, rebuilt at each call, without caches.

    ``log_prob`` is the program's own density in nats, of the kind named by ``kind``; ``surrogate`` is what is
    used in its place while the program is trained as a part of another one.

    Args:
        program: The program.
        context: Shape (*batch_shape, C), or None.
        batch_shape: Batch shape; that of the context if one is given.
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012  (torch's own class attribute)
    has_rsample = False
    costly = True

    def __init__(
        self, program: Program, context: Tensor | None = None, batch_shape: torch.Size | None = None
    ) -> None:
        self.program, self.context = program, context
        shape = (
            batch_shape
            if batch_shape is not None
            else torch.Size()
            if context is None
            else context.shape[:-1]
        )
        super().__init__(shape, program.event_shape, validate_args=False)

    @property
    def kind(self) -> Kind | None:
        """Kind of ``log_prob``; None where the program has no density."""
        try:
            return self.program.kind
        except NoDensityError:
            return None

    @property
    def label(self) -> str:
        """Name of the family, for formulas."""
        return type(self.program).__name__

    @property
    def support(self) -> Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Support of one example."""
        return self.program.support

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> ProgramDistribution:
        """Return the same distribution with a larger batch shape."""
        shape = torch.Size(batch_shape)
        context = None if self.context is None else self.context.expand(*shape, self.context.shape[-1])
        return ProgramDistribution(self.program, context, shape)

    def _context_rows(self, leading: torch.Size) -> Tensor | None:
        if self.context is None:
            return None
        c = self.context.shape[-1]
        return self.context.expand(*leading, c).reshape(-1, c)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        """Return draws of shape (*sample_shape, *batch_shape, *event_shape)."""
        leading = torch.Size(sample_shape) + self.batch_shape
        x = self.program.draw(leading.numel(), self._context_rows(leading))
        return x.reshape(leading + self.event_shape)

    def _rows(self, value: Tensor) -> tuple[torch.Size, Tensor]:
        event = len(self.event_shape)
        leading = value.shape[: value.dim() - event]
        leading = torch.broadcast_shapes(leading, self.batch_shape)
        return leading, value.expand(*leading, *self.event_shape).reshape(-1, *self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value) in nats, of the kind ``self.kind``."""
        leading, rows = self._rows(value)
        return self.program.density_of(rows, self._context_rows(leading)).value.reshape(leading)

    def surrogate(self, value: Tensor) -> Tensor:
        """Return a differentiable stand-in whose gradients train the program, in nats up to a constant."""
        leading, rows = self._rows(value)
        return self.program.surrogate(rows, self._context_rows(leading)).reshape(leading)
