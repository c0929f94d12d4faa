"""Block Gibbs sampling of a program that gives the conditionals of its blocks.

    x ← sweep(x):  each block in turn is drawn from its conditional given the rest

Every sweep leaves p(x) invariant whatever the parameters, with no step size and no rejection; draws are the ends of
chains of a finite length, close to p as far as the chains have forgotten their starts.
"""

from __future__ import annotations

from typing import Protocol, final, runtime_checkable

import torch
from torch import Tensor

from unigen.errors import ArgumentError, ShapeError, UnsupportedQueryError
from unigen.program import Program
from unigen.samplers.sampler import Sampler


@runtime_checkable
class HasSweep(Protocol):
    """A program that draws each block of x (with its latents) given the others."""

    def sweep(self, x: Tensor) -> Tensor:
        """Return x (N, *event) after one sweep that leaves p(x) invariant."""
        ...

    def start(self, n: int, context: Tensor | None = None) -> Tensor:
        """Return where n chains start, shape (n, *event)."""
        ...


@final
class Gibbs(Sampler):
    """Run n chains of block Gibbs from the program's own starts and return their ends.

    Args:
        steps: Sweeps of each chain.

    Raises:
        ArgumentError: steps < 0.

    References:
        Geman & Geman, Stochastic relaxation, Gibbs distributions, and the Bayesian restoration of images, 1984.

    Example:
        >>> import unigen as ug
        >>> ug.RBM(features=4, hidden=2).sample(3, sampler=Gibbs(steps=5)).shape
        torch.Size([3, 4])
    """

    def __init__(self, steps: int = 1000) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise ArgumentError(program="Gibbs", site="steps", got=steps, expected="an integer ≥ 0")
        self.steps = steps

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return the ends of n chains, shape (n, *event_shape).

        Raises:
            UnsupportedQueryError: The program gives no conditionals.
        """
        if not isinstance(program, HasSweep):
            raise UnsupportedQueryError(
                "block Gibbs needs the conditionals of the program",
                program=program.name,
                expected="methods `sweep(x)` and `start(n)`, as an RBM has",
                hint="sampler=Langevin() for a continuous x",
            )
        x = program.start(n, context)
        if tuple(x.shape) != (n, *program.event_shape):
            raise ShapeError(
                program=program.name, site="start", got=tuple(x.shape), expected=(n, *program.event_shape)
            )
        with torch.no_grad():
            for _ in range(self.steps):
                x = program.sweep(x)
        return x
