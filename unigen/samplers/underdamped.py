"""Underdamped Langevin sampling of any program whose log density has a gradient.

    dx = v dt,      dv = ∇log p(x | c) dt − γ v dt + √(2 γ T) dW

Draws are the ends of n independent chains of a finite length. Their velocities carry them past what stops a random
walk, so that they need fewer steps than the overdamped dynamics, and their bias is of order h² instead of h.
"""

from __future__ import annotations

from typing import final

from torch import Tensor

from unigen.dynamics.underdamped import check_underdamped, underdamped
from unigen.program import Program
from unigen.samplers.chains import Start, chain_starts, energy_of, refuse_bounded, without_noise
from unigen.samplers.sampler import Sampler


@final
class UnderdampedLangevin(Sampler):
    """Run n chains from their starts by the splitting BAOAB and return their ends.

    Args:
        steps: Number of steps, of one gradient each.
        step_size: h, in units of the program's length (its ``length`` if it has one, as an EnergyModel has, else of x).
        friction: γ, per unit of the same time; a large one makes the dynamics overdamped.
        temperature: T; 1 draws from the density itself, less sharpens, more flattens.
        start: Where chains start: a function (n, context) → (n, *event). By default the program's own
            ``start(n, context)`` if it has one, else N(0, I).
        denoise: Take off the Gaussian noise under which the program was trained, if it has noted any, as `Langevin`
            does.

    Raises:
        ArgumentError: A setting is out of range.

    References:
        Leimkuhler & Matthews 2013; Cheng, Chatterji, Bartlett & Jordan, Underdamped Langevin MCMC, 2018.

    Example:
        >>> import unigen as ug
        >>> ug.EnergyModel(2).sample(3, sampler=UnderdampedLangevin(steps=5)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        steps: int = 100,
        step_size: float = 0.1,
        *,
        friction: float = 1.0,
        temperature: float = 1.0,
        start: Start | None = None,
        denoise: bool = True,
    ) -> None:
        check_underdamped(steps, step_size, friction, temperature)
        self.steps, self.step_size, self.start = steps, step_size, start
        self.friction, self.temperature, self.denoise = friction, temperature, denoise

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return the ends of n chains, shape (n, *event_shape).

        Raises:
            UnsupportedQueryError: x is discrete or bounded.
            ShapeError: The starts have another shape.
            DivergedError: A chain is no longer finite; ``partial`` holds positions and velocities before that step.
        """
        refuse_bounded(program)
        x = chain_starts(program, n, context, self.start)
        energy = energy_of(program, context)
        unit = float(getattr(program, "length", 1.0))
        x, _ = underdamped(
            energy, x, steps=self.steps, step_size=self.step_size * unit, friction=self.friction / unit,
            temperature=self.temperature,
        )  # fmt: skip
        return without_noise(program, energy, x) if self.denoise else x
