"""Copies of parameters: the exponential moving average, and the best state so far."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError


class Average:
    """Exponential moving average θ̄ ← d θ̄ + (1 − d) θ with the usual warm-up d_t = min(d, (1 + t)/(10 + t)).

    By the warm-up short runs are not held at their start: after t steps the initial parameters have the weight
    Π_{s ≤ t} d_s = 10! (t + 1)! / (t + 10)! as long as d_t < d, below 10⁻⁸ at t = 50.

    Args:
        program: Whose parameters are averaged (buffers are copied).
        decay: d, in [0, 1).
    """

    def __init__(self, program: nn.Module, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ArgumentError(site="ema", got=decay, expected="in [0, 1)")
        self.decay, self.steps = decay, 0
        self.parameters = dict(program.named_parameters())
        self.shadow = {name: p.detach().clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the present parameters."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.shadow.values()), list(self.parameters.values()), 1.0 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the parameters with their average."""
        for name, p in self.parameters.items():
            kept = p.detach().clone()
            p.copy_(self.shadow[name])
            self.shadow[name].copy_(kept)

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """Exchange them for the time of a ``with`` block."""
        self.swap()
        try:
            yield
        finally:
            self.swap()


def copy_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a detached copy of all parameters and buffers."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
