"""Distributions moved as modules are: the same function applied to every tensor that they hold."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor
from torch.distributions import Distribution, Transform
from torch.distributions.constraints import Constraint

Move = Callable[[Tensor], Tensor]
Held = TypeVar("Held")
HOLDERS = (Distribution, Transform, Constraint)


def moved(holder: Held, move: Move) -> Held:
    """Return a copy of a distribution, transform or constraint whose tensors have been moved.

    Args:
        holder: It stays as it is; the tensors inside it, at any depth, are mapped.
        move: A tensor to one of another device or dtype; what ``nn.Module._apply`` hands around.

    Returns:
        The copy.

    Example:
        >>> import torch, pyro.distributions as dist
        >>> p = moved(dist.Normal(torch.zeros(2), 1.0).to_event(1), torch.Tensor.double)
        >>> p.sample().dtype
        torch.float64
    """
    found = copy.copy(holder)
    for name, value in vars(holder).items():
        found.__dict__[name] = _part(value, move)
    return found


def _part(value: Any, move: Move) -> Any:
    if isinstance(value, Tensor):
        return move(value)
    if isinstance(value, HOLDERS):
        return moved(value, move)
    if type(value) in (list, tuple):
        return type(value)(_part(v, move) for v in value)
    if isinstance(value, Mapping):
        return {k: _part(v, move) for k, v in value.items()}
    return value
