"""DiffusionDistribution: draws by a simulation, scored by whatever density its program has."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.flow import check_value
from unigen.logprob import Kind, LogProb

Score = Callable[[Tensor, Tensor | None], Tensor]  # rows (N, *event), context rows -> (N,)
Draw = Callable[[int, Tensor | None], Tensor]  # n, context rows -> (n, *event)


class Simulated(Protocol):
    """What is asked of a program whose draws are simulated: the queries of `unigen.queries`, as they are."""

    @property
    def event_shape(self) -> torch.Size:
        """Shape of one example."""
        ...

    @property
    def kind(self) -> Kind:
        """Kind of ``density_of``."""
        ...

    def draw(self, n: int, context: Tensor | None = None) -> Tensor:
        """Return n draws, (n, *event)."""
        ...

    def density_of(self, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Return log p(x | c), (N,), in nats."""
        ...

    def surrogate(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the stand-in for it in training, (N,)."""
        ...


class DiffusionDistribution(TorchDistribution):
    """p(x | c) given by functions on rows; ``log_prob`` is of the kind ``kind``.

    Args:
        event_shape: Shape of one example.
        draw: Gives n draws.
        density: log p(x | c) of rows, in nats.
        surrogate: Stand-in for the density while the program is trained.
        kind: Kind of the density.
        context: Shape (*batch_shape, C), or None.
        batch_shape: Batch shape; that of the context if one is given.
        label: Name of the family, for formulas.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False
    costly = True

    def __init__(
        self,
        event_shape: torch.Size | tuple[int, ...],
        draw: Draw,
        density: Score,
        surrogate: Score,
        kind: Kind,
        context: Tensor | None = None,
        batch_shape: torch.Size | tuple[int, ...] | None = None,
        label: str = "Diffusion",
    ) -> None:
        self.draw, self.density, self.stand_in, self.kind = draw, density, surrogate, kind
        self.context, self.label = context, label
        own = torch.Size() if context is None else context.shape[:-1]
        super().__init__(
            own if batch_shape is None else torch.Size(batch_shape),
            torch.Size(event_shape),
            validate_args=False,
        )

    @classmethod
    def of(cls, program: Simulated, context: Tensor | None = None) -> DiffusionDistribution:
        """Return the distribution of a program that is drawn by a simulation, scored as the program is scored."""
        return cls(
            program.event_shape, program.draw, lambda x, c: program.density_of(x, c).value, program.surrogate,
            program.kind, context, label=type(program).__name__,
        )  # fmt: skip

    @property
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The reals."""
        rank = len(self.event_shape)
        return constraints.independent(constraints.real, rank) if rank else constraints.real

    def expand(
        self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None
    ) -> DiffusionDistribution:
        """Return the same distribution with a larger batch shape."""
        shape = torch.Size(batch_shape)
        context = None if self.context is None else self.context.expand(*shape, self.context.shape[-1])
        return DiffusionDistribution(
            self.event_shape, self.draw, self.density, self.stand_in, self.kind, context, shape, self.label
        )

    def _rows(self, leading: torch.Size) -> Tensor | None:
        if self.context is None:
            return None
        c = self.context.shape[-1]
        return self.context.expand(*leading, c).reshape(-1, c)

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Return draws, shape (*sample_shape, *batch_shape, *event_shape)."""
        leading = torch.Size(sample_shape) + self.batch_shape
        with torch.no_grad():
            return self.draw(leading.numel(), self._rows(leading)).reshape(leading + self.event_shape)

    def _score(self, value: Tensor, score: Score) -> Tensor:
        check_value(self, value, self.label)
        leading = value.shape[: value.dim() - len(self.event_shape)]
        leading = torch.broadcast_shapes(leading, self.batch_shape)
        rows = value.expand(*leading, *self.event_shape).reshape(-1, *self.event_shape)
        return score(rows, self._rows(leading)).reshape(leading)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value) in nats, of the kind ``kind``."""
        return self._score(value, self.density)

    def surrogate(self, value: Tensor) -> Tensor:
        """Return a differentiable stand-in whose gradients train the program, in nats up to a constant."""
        return self._score(value, self.stand_in)
