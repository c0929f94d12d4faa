"""Langevin sampling of any program whose log density has a gradient.

    x' = x + h ∇log p(x | c) + √(2 h T) ξ

Draws are the ends of n independent chains of a finite length: they are close to p only if the chains are long
enough to forget their starts, and, unadjusted, only if h is small. A temperature T ≠ 1 draws from p^(1/T)
instead of p.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor
from torch.distributions import constraints

from unigen.dynamics.langevin import check_langevin, energy_and_gradient, langevin, metropolis_langevin
from unigen.errors import ShapeError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.program import Program
from unigen.samplers.sampler import Sampler

Start = Callable[[int, Tensor | None], Tensor]  # (n, context) -> (n, *event)


@final
class Langevin(Sampler):
    """Run n chains from their starts and return their ends.

    Args:
        steps: Number of steps.
        step_size: h, in squared units of the program's length (its ``length`` if it has one, as an EnergyModel has,
            else that of x); the noise of a step has standard deviation √(2hT).
        start: Where chains start: a function (n, context) → (n, *event). By default the program's own
            ``start(n, context)`` if it has one (an EnergyModel's persistent chains), else N(0, I).
        temperature: T; 1 draws from the density itself, less sharpens, more flattens.
        adjusted: Accept or reject each step (MALA), which removes the bias of a finite h.
        denoise: Take off the Gaussian noise under which the program was trained, if it has noted any (``noise``, σ in
            units of its length): draws end with Tweedie's estimate x + σ² ∇log p(x) of the noiseless x, and are then
            no draws of p, whose noise they lack.

    Raises:
        ArgumentError: A setting is out of range.

    References:
        Roberts & Tweedie, Exponential convergence of Langevin distributions and their discrete approximations, 1996.
    """

    def __init__(
        self,
        steps: int = 200,
        step_size: float = 0.01,
        *,
        start: Start | None = None,
        temperature: float = 1.0,
        adjusted: bool = False,
        denoise: bool = True,
    ) -> None:
        check_langevin(steps, step_size, temperature)
        self.steps, self.step_size, self.start = steps, step_size, start
        self.temperature, self.adjusted, self.denoise = temperature, adjusted, denoise

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return the ends of n chains, shape (n, *event_shape).

        Raises:
            UnsupportedQueryError: x is discrete or bounded, or MALA is asked for a density that is only bounded
                or estimated.
            ShapeError: The starts have another shape.
        """
        self._refuse(program)
        x = self._starts(program, n, context)
        if tuple(x.shape) != (n, *program.event_shape):
            raise ShapeError(
                program=program.name, site="start", got=tuple(x.shape), expected=(n, *program.event_shape)
            )

        def energy(at: Tensor) -> Tensor:
            return -program.density_of(at, context).value

        unit = getattr(program, "length", 1.0) ** 2
        options = {"steps": self.steps, "step_size": self.step_size * unit, "temperature": self.temperature}
        x = metropolis_langevin(energy, x, **options)[0] if self.adjusted else langevin(energy, x, **options)
        noise = getattr(program, "noise", None)
        if noise is None or not self.denoise:
            return x
        return x - noise.square() * unit * energy_and_gradient(energy, x)[1]

    def _starts(self, program: Program, n: int, context: Tensor | None) -> Tensor:
        if self.start is not None:
            return self.start(n, context).to(program.device, program.dtype)
        own: Start | None = getattr(program, "start", None)
        if own is not None:
            return own(n, context)
        return torch.randn(n, *program.event_shape, device=program.device, dtype=program.dtype)

    def _refuse(self, program: Program) -> None:
        support = program.support
        while isinstance(support, constraints.independent):
            support = support.base_constraint
        if support is not constraints.real:
            raise UnsupportedQueryError(
                "Langevin dynamics moves in all of Euclidean space",
                program=program.name,
                site=program.observed,
                got=f"support {support}",
                hint="sample ancestrally, or map x to the reals first",
            )
        if self.adjusted and program.kind not in (Kind.EXACT, Kind.UNNORMALISED):
            raise UnsupportedQueryError(
                "the Metropolis correction needs the density itself",
                program=program.name,
                got=f"kind {program.kind}",
                hint="adjusted=False follows the score of the bound",
            )
