"""A conditional distribution in two pieces, a network and a head, or in one, a conditional program.

p(y | v, c):    head(network(v, c))    or    program given (v, c)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from unigen.errors import ArgumentError, ContextError


def is_program(part: object) -> bool:
    """Return whether a part is a program: it then is a conditional distribution, not a network."""
    return hasattr(part, "density_of")


def part_name(part: object) -> str:
    """Return what a part is called in messages and formulas."""
    return str(getattr(part, "name", type(part).__name__))


def width_of(head: Any, event_shape: torch.Size | tuple[int, ...]) -> int:
    """Return how many numbers a network must give for a head: a likelihood, a posterior or a conditional program.

    Raises:
        ContextError: A program that takes none.
    """
    if is_program(head):
        if not head.context_features:
            name = part_name(head)
            raise ContextError(
                f"{name} is to be given a network's output",
                got=f"{name} without context", expected=f"a conditional {name}", hint=f"{name}(…, context=64)",
            )  # fmt: skip
        return head.context_features
    size = torch.Size(event_shape).numel()
    return head.width(size)


def join(value: Tensor, context: Tensor) -> Tensor:
    """Return (value, context) along the last dimension, leading dimensions broadcast."""
    lead = torch.broadcast_shapes(value.shape[:-1], context.shape[:-1])
    return torch.cat([t.expand(*lead, t.shape[-1]) for t in (value, context)], -1)


def given(context: Tensor | None) -> tuple[Tensor, ...]:
    """Return the further arguments of a network: the context, if there is one."""
    return () if context is None else (context,)


@dataclass(frozen=True)
class Conditional:
    """p(y | v, c), called with v and c.

    Args:
        role: What it is in the whole, for messages: "decoder", "posterior".
        network: A network v, c → raw; or, without a head, a program whose context is v, or v and c.
        head: Makes a distribution of raw: a likelihood, a posterior, or a program whose context is raw; or None.
        event_shape: Shape of y.

    Raises:
        ArgumentError: A head beside a program that is a distribution already, or a network without a head.

    Example:
        >>> from unigen.distributions.likelihoods import Bernoulli
        >>> p = Conditional("decoder", nn.Linear(2, 3), Bernoulli(), (3,))
        >>> p(torch.zeros(5, 2)).batch_shape, p.name
        (torch.Size([5]), 'Bernoulli')
    """

    role: str
    network: nn.Module
    head: Any
    event_shape: torch.Size | tuple[int, ...]

    def __post_init__(self) -> None:
        if is_program(self.network) == (self.head is not None):
            network, head = part_name(self.network), part_name(self.head)
            raise ArgumentError(
                f"the {self.role} has {network} and {'no head' if self.head is None else f'the head {head}'}",
                argument=self.role, expected="a network and a head, or a conditional program alone",
            )  # fmt: skip

    @property
    def part(self) -> Any:
        """The piece that makes the distribution."""
        return self.network if self.head is None else self.head

    @property
    def name(self) -> str:
        """Name of that piece."""
        return part_name(self.part)

    @property
    def label(self) -> str | None:
        """Its name if it is a program, for formulas."""
        return self.name if is_program(self.part) else None

    def code(self, y: Tensor) -> Tensor:
        """Return what a network that reads y (N, *event) is fed: the codes of the likelihood, shape (N, width)."""
        likelihood = getattr(self.part, "likelihood", None) if is_program(self.part) else self.part
        return y.flatten(1) if likelihood is None else likelihood.encode(y.flatten(1))

    @property
    def code_width(self) -> int:
        """Length of those codes."""
        likelihood = getattr(self.part, "likelihood", None) if is_program(self.part) else self.part
        size = torch.Size(self.event_shape).numel()
        return size if likelihood is None else likelihood.input_width(size)

    def __call__(self, value: Tensor, context: Tensor | None = None) -> TorchDistribution:
        """Return p(y | value, context), batch shape that of the value (..., *its event)."""
        if self.head is None:
            return self.part.distribution(self._joined(value, context))
        raw = self.network(value, *given(context))
        return self.head.distribution(raw) if is_program(self.head) else self.head(raw, self.event_shape)

    def _joined(self, value: Tensor, context: Tensor | None) -> Tensor:
        """Return what the program is given: v, or v and c."""
        if context is None or self.part.context_features == value.shape[-1]:
            return value
        return join(value, context)

    def initialise(self, y: Tensor, value: Tensor, context: Tensor | None = None) -> None:
        """Let a program set its starting values from data y (N, *event) under values v (N, …)."""
        if is_program(self.part):
            raw = self._joined(value, context) if self.head is None else self.network(value, *given(context))
            self.part.initialise(y, raw)

    def example(self) -> TorchDistribution:
        """Return the distribution for raw, or v, of zeros: its shape, support and kind without running the network."""
        like = next(iter(self.part.parameters()), torch.zeros(()))
        raw = like.detach().new_zeros(1, width_of(self.part, self.event_shape))
        return self.part.distribution(raw) if is_program(self.part) else self.part(raw, self.event_shape)

    def check_input(self, source: str, features: int, context: int, owner: str) -> None:
        """Refuse a program that takes another context than what it will be given.

        Args:
            source: The part whose values it is given, for messages.
            features: Length of those values.
            context: C, features of the whole's context, which it may take too.
            owner: Name of the whole.

        Raises:
            ContextError: Its context has another length.
        """
        if self.head is not None:
            return
        allowed = sorted({features, features + context})
        if self.part.context_features not in allowed:
            raise ContextError(
                f"the {self.role} {self.name} does not take {source}", program=owner,
                got=f"{self.name} with context={self.part.context_features}",
                expected=" or ".join(f"context={c}" for c in allowed),
                hint=f"{self.name}(…, context={allowed[-1]})",
            )  # fmt: skip
