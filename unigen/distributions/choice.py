"""One of several programs, chosen by an index, and their mixture.

Notation: K programs p_1 … p_K with one event shape and one support, z an index in 0 … K − 1, c a context (N, C).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions.constraints import Constraint

from unigen.errors import ArgumentError, ContextError, NoDensityError, ShapeError, SupportError
from unigen.logprob import Kind

if TYPE_CHECKING:
    from unigen.program import Program


def check_components(programs: Sequence[Program], owner: str) -> tuple[Kind, int]:
    """Return the kind of a mixture of programs and the number of features of its context.

    Args:
        programs: At least one, each with a density, all on the same set.
        owner: Name used in messages.

    Raises:
        ArgumentError: No program, something else, or one program twice.
        NoDensityError: A program has draws only.
        ShapeError, SupportError, ContextError: Two programs do not fit; the message names both.
    """
    if not programs or any(not hasattr(p, "density_of") for p in programs):
        got = "none" if not programs else ", ".join(type(p).__name__ for p in programs)
        raise ArgumentError(program=owner, argument="components", got=got, expected="a list of programs",
                            hint="[ug.PPCA(3, 1) for _ in range(5)]")  # fmt: skip
    if len({id(p) for p in programs}) < len(programs):
        raise ArgumentError("the same program stands twice among the components", program=owner,
                            argument="components", hint="[ug.PPCA(3, 1) for _ in range(5)]")  # fmt: skip
    first, widths = programs[0], [p.context_features for p in programs]
    for k, p in enumerate(programs):
        pair = f"component 0, {first.name}, and component {k}, {p.name}"
        if p.event_shape != first.event_shape:
            raise ShapeError(f"{pair}, have other event shapes", program=owner, argument="components",
                             got=tuple(p.event_shape), expected=tuple(first.event_shape),
                             hint="give all components the same features")  # fmt: skip
        if str(p.support) != str(first.support):
            raise SupportError(f"{pair}, live on other sets", program=owner, argument="components",
                               got=p.support, expected=first.support,
                               hint="the same likelihood, or support='unit' for every flow")  # fmt: skip
        if p.context_features not in (0, max(widths)):
            raise ContextError(f"component {k}, {p.name}, takes another context than the rest", program=owner,
                               got=p.context_features, expected=max(widths))  # fmt: skip
    return reduce(Kind.__add__, [_kind(p, k, owner) for k, p in enumerate(programs)]), max(widths)


def _kind(program: Program, k: int, owner: str) -> Kind:
    try:
        return program.kind
    except NoDensityError as error:
        raise NoDensityError(f"component {k}, {program.name}, has draws only", program=owner, argument="components",
                             hint="components with a density or a bound: PPCA, MAF, VAE") from error  # fmt: skip


def _own(program: Program, context: Tensor | None) -> Tensor | None:
    return context if program.context_features else None


def log_prob_table(
    programs: Sequence[Program], x: Tensor, context: Tensor | None = None, *, surrogate: bool = False
) -> Tensor:
    """Return log p_k(x_i | c_i) of every program, shape (N, K), in nats, of the programs' kinds.

    Args:
        programs: K programs.
        x: Shape (N, *event_shape).
        context: Shape (N, C); given to those that are conditional.
        surrogate: Use the stand-ins whose gradients train the programs.
    """
    columns = [
        p.surrogate(x, _own(p, context)) if surrogate else p.density_of(x, _own(p, context)).value
        for p in programs
    ]
    return torch.stack(columns, -1)


class Chosen(TorchDistribution):
    """p_z(x | c): the program that an index names, one for each entry of the index.

    Args:
        programs: K programs that fit together, see ``check_components``.
        index: z, shape ``batch_shape``.
        context: Shape (*batch_shape, C), or None.

    Example:
        >>> from unigen.models.ppca import PPCA
        >>> Chosen([PPCA(3, 1), PPCA(3, 2)], torch.tensor([0, 1, 1])).sample().shape
        torch.Size([3, 3])
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012  (torch's own class attribute)
    has_rsample = False
    costly = True

    def __init__(self, programs: Sequence[Program], index: Tensor, context: Tensor | None = None) -> None:
        self.programs, self.index, self.context = programs, index, context
        shape = index.shape if context is None else torch.broadcast_shapes(index.shape, context.shape[:-1])
        super().__init__(shape, programs[0].event_shape, validate_args=False)

    @property
    def kind(self) -> Kind:
        """Kind of ``log_prob``: that of a sum of the programs'."""
        return reduce(Kind.__add__, [p.kind for p in self.programs])

    @property
    def support(self) -> Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Support of one example."""
        return self.programs[0].support

    @property
    def mean(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """E[x | z, c], shape (*batch_shape, *event_shape), where every program knows its own.

        Raises:
            NotImplementedError: One does not.
        """
        rows = self._rows(self.batch_shape)
        index = self.index.expand(self.batch_shape).reshape(-1)
        out = self._empty(index.shape)
        for k, p in enumerate(self.programs):
            own = _own(p, rows)
            out[index == k] = p.distribution(own).mean.expand(*out.shape)[index == k]
        return out.reshape(self.batch_shape + self.event_shape)

    def _empty(self, shape: torch.Size) -> Tensor:
        first = self.programs[0]
        return torch.zeros(shape + self.event_shape, dtype=first.dtype, device=first.device)

    def _rows(self, leading: torch.Size) -> Tensor | None:
        c = self.context
        return None if c is None else c.expand(*leading, c.shape[-1]).reshape(-1, c.shape[-1])

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> Chosen:
        """Return the same distribution with a larger batch shape."""
        return Chosen(self.programs, self.index.expand(batch_shape), self.context)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        """Return draws of shape (*sample_shape, *batch_shape, *event_shape), without gradients."""
        leading = torch.Size(sample_shape) + self.batch_shape
        index, context = self.index.expand(leading).reshape(-1), self._rows(leading)
        out = self._empty(index.shape)
        with torch.no_grad():
            for k, p in enumerate(self.programs):
                rows = (index == k).nonzero()[:, 0]
                if rows.shape[0]:
                    own = _own(p, context)
                    out[rows] = p.draw(rows.shape[0], None if own is None else own[rows])
        return out.reshape(leading + self.event_shape)

    def _pick(self, value: Tensor, surrogate: bool) -> Tensor:
        leading = value.shape[: value.dim() - len(self.event_shape)]
        if self.context is not None:
            leading = torch.broadcast_shapes(leading, self.context.shape[:-1])
        rows = value.expand(*leading, *self.event_shape).reshape(-1, *self.event_shape)
        table = log_prob_table(self.programs, rows, self._rows(leading), surrogate=surrogate)
        shape = torch.broadcast_shapes(leading, self.index.shape)
        table = table.reshape(*leading, len(self.programs)).expand(*shape, len(self.programs))
        return table.gather(-1, self.index.long().expand(shape)[..., None])[..., 0]

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p_z(value | c) in nats; each program scores a value once, however many indices there are."""
        return self._pick(value, surrogate=False)

    def surrogate(self, value: Tensor) -> Tensor:
        """Return a differentiable stand-in whose gradients train the programs, in nats up to a constant."""
        return self._pick(value, surrogate=True)


class ProgramMixture(TorchDistribution):
    """p(x | c) = Σ_k π_k p_k(x | c) of programs with exact densities.

    Args:
        logits: log π up to a constant, shape (K,).
        programs: K programs.
        context: Shape (*batch_shape, C), or None.
        batch_shape: Batch shape; that of the context if one is given.
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012  (torch's own class attribute)
    has_rsample = False

    def __init__(
        self,
        logits: Tensor,
        programs: Sequence[Program],
        context: Tensor | None = None,
        batch_shape: torch.Size = torch.Size(),
    ) -> None:
        self.logits, self.programs, self.context = logits, programs, context
        shape = batch_shape if context is None else torch.broadcast_shapes(batch_shape, context.shape[:-1])
        super().__init__(shape, programs[0].event_shape, validate_args=False)

    @property
    def support(self) -> Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Support of one example."""
        return self.programs[0].support

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> ProgramMixture:
        """Return the same distribution with a larger batch shape."""
        return ProgramMixture(self.logits, self.programs, self.context, torch.Size(batch_shape))

    def _given(self, index: Tensor) -> Chosen:
        return Chosen(self.programs, index, self.context)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        """Return draws of shape (*sample_shape, *batch_shape, *event_shape), without gradients."""
        with torch.no_grad():
            leading = torch.Size(sample_shape) + self.batch_shape
            return self._given(dist.Categorical(logits=self.logits).sample(leading)).sample()

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log Σ_k π_k p_k(value | c) in nats."""
        leading = value.shape[: value.dim() - len(self.event_shape)]
        leading = torch.broadcast_shapes(leading, self.batch_shape)
        rows = value.expand(*leading, *self.event_shape).reshape(-1, *self.event_shape)
        c = self.context
        context = None if c is None else c.expand(*leading, c.shape[-1]).reshape(-1, c.shape[-1])
        joint = log_prob_table(self.programs, rows, context) + self.logits.log_softmax(-1)
        return joint.logsumexp(-1).reshape(leading)
