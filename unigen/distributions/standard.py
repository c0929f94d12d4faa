"""Parts that may stand at a site: a program, a distribution, or a module that returns one."""

from __future__ import annotations

from typing import Any

import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from unigen.errors import ArgumentError, ContextError
from unigen.logprob import Kind


class StandardNormal(nn.Module):
    """N(0, I) over vectors, on whatever device and dtype the module is moved to.

    Args:
        features: Length of the vector.

    Example:
        >>> StandardNormal(3)().event_shape
        torch.Size([3])
    """

    loc: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        if features < 1:
            raise ArgumentError(site="features", got=features, expected="≥ 1")
        self.register_buffer("loc", torch.zeros(features), persistent=False)

    def forward(self) -> TorchDistribution:
        """Return the distribution, event shape (features,)."""
        return dist.Normal(self.loc, torch.ones_like(self.loc)).to_event(1)


def labelled(distribution: TorchDistribution, label: str) -> TorchDistribution:
    """Return an exact density that carries a name for formulas, ``p_NSF(z)``, through ``expand``."""
    plain = distribution.expand

    def expand(batch_shape: torch.Size, _instance: object = None) -> TorchDistribution:
        return labelled(plain(batch_shape, _instance), label)

    distribution.kind = Kind.EXACT  # pyright: ignore[reportAttributeAccessIssue]
    distribution.label, distribution.expand = label, expand  # pyright: ignore[reportAttributeAccessIssue]
    return distribution


Part = Any  #  a Program, a distribution, or a callable (context) -> distribution


def as_distribution(part: Part, context: Tensor | None = None, owner: str = "") -> TorchDistribution:
    """Return the distribution of a part: a program's ``distribution(context)``, a distribution, a module's output.

    Args:
        part: Program, distribution, or module.
        context: Given to programs that are conditional, and to modules that take one.
        owner: Name of the program that holds the part, used in messages.

    Raises:
        ArgumentError: The part is none of these.
        ContextError: The part is conditional on a context that its owner does not have.
    """
    if hasattr(part, "log_prob") and hasattr(part, "event_shape") and not isinstance(part, nn.Module):
        if not callable(part):  # torch's own, which is no site of a program
            name = type(part).__name__
            raise ArgumentError(
                program=owner or None, got=f"{type(part).__module__}.{name}", expected="a Pyro distribution",
                hint=f"pyro.distributions.{name} takes the same arguments",
            )  # fmt: skip
        given: Any = part
        return given
    if hasattr(part, "distribution"):
        program: Any = part
        features = 0 if context is None else context.shape[-1]
        if program.context_features not in (0, features):
            raise ContextError(
                f"its part {program.name} has another context",
                program=owner or None,
                got=f"{program.name} with context={program.context_features}",
                expected=f"context={features}, that of the whole" if features else "a part without context",
                hint=f"{owner or 'the whole'}(…, context={program.context_features}), or a part without one",
            )
        return program.distribution(context if program.context_features else None)
    if callable(part):
        made: Any = part()
        return made
    raise ArgumentError(
        got=type(part).__name__,
        expected="a program, a distribution or a module that returns one",
        hint="ug.NSF(features=8)",
    )
