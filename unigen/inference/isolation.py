"""What a step or its trace must be able to put back: buffers, attributes, generators, Pyro's store, validation."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import pyro
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

Kept = list[tuple[nn.Module, str, Tensor, Tensor]]


@contextmanager
def quiet() -> Iterator[None]:
    """Switch off the argument validation of torch and Pyro."""
    torchs = Distribution._validate_args  # may differ from Pyro's switch
    try:
        with pyro.validation_enabled(False):
            yield
    finally:
        Distribution._validate_args = torchs


def own_buffers(module: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    """Yield (owner, name, buffer) for each buffer of a module once."""
    seen: set[int] = set()
    for owner in module.modules():
        for name, buffer in owner._buffers.items():
            if buffer is not None and id(buffer) not in seen:
                seen.add(id(buffer))
                yield owner, name, buffer


def keep_buffers(module: nn.Module) -> Kept:
    """Return (owner, name, buffer, copy of its values) for each buffer."""
    return [(owner, name, b, b.clone()) for owner, name, b in own_buffers(module)]


def restore_buffers(kept: Kept) -> None:
    """Put back what ``keep_buffers`` kept, tensors that were assigned anew included."""
    with torch.no_grad():
        for owner, name, buffer, values in kept:
            buffer.copy_(values)
            owner._buffers[name] = buffer


def plain_attributes(module: nn.Module) -> list[tuple[dict[str, Any], str, Any]]:
    """Return (dictionary, name, value) of the numbers, strings, switches and loose tensors that modules hold."""
    plain = (bool, int, float, str, type(None), Tensor)
    return [
        (vars(m), name, value)
        for m in module.modules()
        for name, value in vars(m).items()
        if isinstance(value, plain) and name not in _INTERNAL
    ]


_INTERNAL = set(vars(nn.Module())) - {"training"}


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Undo every assignment to attributes of the module, and what happens to Pyro's store and the generators."""
    saved = [(vars(m), dict(vars(m))) for m in module.modules()]
    with generators_kept(), store_kept():
        try:
            yield
        finally:
            for attributes, values in saved:
                attributes.clear()
                attributes.update(values)


@contextmanager
def store_kept() -> Iterator[None]:
    """Undo what happens to Pyro's parameter store."""
    store = pyro.get_param_store()
    state: Any = store.get_state()
    copied: Any = {part: dict(entries) for part, entries in state.items()}
    with store.scope(copied):
        yield


@contextmanager
def generators_kept() -> Iterator[Callable[[], bool]]:
    """Put back the generators of torch, Python and NumPy; yields a question: were the last two used?"""
    python, array = random.getstate(), numpy.random.get_state(legacy=False)

    def foreign() -> bool:
        now = numpy.random.get_state(legacy=False)
        return random.getstate() != python or repr(now) != repr(array)

    with torch.random.fork_rng():
        try:
            yield foreign
        finally:
            random.setstate(python)
            numpy.random.set_state(array)
