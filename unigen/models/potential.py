"""A program from an energy alone.

p(x) = exp(−E(x)) / Z
"""

from __future__ import annotations

from collections.abc import Callable

import pyro
import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from unigen.densities.density import Density
from unigen.densities.unnormalised import Unnormalised
from unigen.distributions.energy import EnergyDistribution
from unigen.errors import ArgumentError, ShapeError
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.samplers.langevin import Langevin
from unigen.samplers.sampler import Sampler


class Potential(Program):
    """p(x) ∝ exp(−E(x)) for any function E: what an energy of one's own needs to answer a program's questions.

    Nothing is added to E, as an ``EnergyModel`` adds a quadratic: whether Z is finite is the caller's business.

    Args:
        energy: E, maps x (N, *event_shape) to (N,) or (N, 1) in nats; a module's parameters are the program's.
        event_shape: Shape of one example; a number D stands for (D,).
        support: Domain of E; the reals if omitted.
        objective: What ``fit`` minimises by default.
        sampler: How draws are made.
        density: How ``log_prob`` is computed; −E(x) by default.

    Raises:
        ArgumentError: E cannot be called.

    Example:
        >>> well = Potential(lambda x: (x.square() - 1).square().sum(-1) / 1.2, 1)
        >>> well.score([[1.0], [0.5]])
        tensor([[0.0000],
                [1.2500]])
    """

    def __init__(
        self,
        energy: Callable[[Tensor], Tensor] | nn.Module,
        event_shape: int | tuple[int, ...],
        *,
        support: Constraint | None = None,
        objective: Objective | None = None,
        sampler: Sampler = Langevin(steps=500, step_size=0.05, adjusted=True),
        density: Density = Unnormalised(),
    ) -> None:
        if not callable(energy):
            raise ArgumentError(
                program="Potential", site="energy", got=type(energy).__name__, expected="a function x → (N,)"
            )
        shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
        super().__init__(shape, objective=objective, sampler=sampler, density=density)
        self.f = energy if isinstance(energy, nn.Module) else None
        self.__dict__["_energy"] = energy
        self.__dict__["_support"] = support

    def potential(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return E(x) in nats, shape (N,).

        Raises:
            ShapeError: E does not return one number an example.
        """
        function = self.__dict__["_energy"] if self.f is None else self.f
        value, batch = function(x), x.shape[: x.dim() - len(self.event_shape)]
        if value.dim() == len(batch) + 1 and value.shape[-1] == 1:
            value = value.squeeze(-1)
        if value.shape != batch:
            raise ShapeError(
                "the energy must be one number an example", program="Potential", got=tuple(value.shape),
                expected=tuple(batch), hint="a sum over the axes of one example: E(x).flatten(1).sum(1)",
            )  # fmt: skip
        return value

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x), unnormalised."""

        def draw(shape: torch.Size) -> Tensor:
            return self.draw(shape.numel()).reshape(*shape, *self.event_shape)

        with self.plate(x, n):
            support = (
                self.__dict__["_support"] or constraints.real
            )  # torch's own object, which a copy would not be
            p = EnergyDistribution(self.potential, self.event_shape, draw, support=support, name="Potential")
            return pyro.sample("x", p, obs=x)
