"""Langevin sampling of any program whose log density has a gradient.

    x' = x + h ∇log p(x | c) + √(2 h T) ξ

Draws are the ends of n independent chains of a finite length: they are close to p only if the chains are long
enough to forget their starts, and, unadjusted, only if h is small. A temperature T ≠ 1 draws from p^(1/T)
instead of p.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import torch
from torch import Tensor

from unigen.dynamics.langevin import Energy, check_langevin, langevin, metropolis_langevin
from unigen.errors import NonFiniteError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.program import Program
from unigen.samplers.chains import Start, chain_starts, energy_of, refuse_bounded, without_noise
from unigen.samplers.rerun import Rerun
from unigen.samplers.sampler import Sampler


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
            NonFiniteError: A chain left the finite numbers; ``partial`` has the states so far, by steps.
        """
        refuse_bounded(program)
        self._refuse_correction(program)
        x = chain_starts(program, n, context, self.start)
        energy = energy_of(program, context)
        unit = getattr(program, "length", 1.0) ** 2
        options = {"steps": self.steps, "step_size": self.step_size * unit, "temperature": self.temperature}
        rerun, start = Rerun(x.device), x
        x = metropolis_langevin(energy, x, **options)[0] if self.adjusted else langevin(energy, x, **options)
        if not bool(torch.isfinite(x).all()):
            raise NonFiniteError(
                "the chains diverged", program=program.name, hint="a smaller step_size, or adjusted=True",
                partial=rerun.partial(torch.arange(self.steps + 1), start, _states(energy, start, options)),
            )  # fmt: skip
        return without_noise(program, energy, x) if self.denoise else x

    def _refuse_correction(self, program: Program) -> None:
        if self.adjusted and program.kind not in (Kind.EXACT, Kind.UNNORMALISED):
            raise UnsupportedQueryError(
                "the Metropolis correction needs the density itself",
                program=program.name,
                got=f"kind {program.kind}",
                hint="adjusted=False follows the score of the bound",
            )


def _states(energy: Energy, x: Tensor, options: dict[str, Any]) -> Iterator[Tensor]:
    """The states of unadjusted chains, one after the other; those of adjusted ones never diverge."""
    for _ in range(options["steps"]):
        x = langevin(energy, x, **options | {"steps": 1})
        yield x
