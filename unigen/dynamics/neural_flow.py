"""The flow of a neural ODE from data to noise, scored by the instantaneous change of variables.

u = (x − loc) / scale = z(0),    dz/dt = net(z, t, c),    z(1) ~ N(0, I)
log p(x) = log N(z(1); 0, I) + ∫ ∇·net dt − Σ log scale
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from unigen.dynamics.change_of_variables import Carried, carry
from unigen.dynamics.divergence import Divergence, ExactDivergence, Hutchinson
from unigen.dynamics.neural_ode import drift_field
from unigen.dynamics.ode_solver import ODESolver
from unigen.dynamics.unit_flow import UnitFlow

EXACT_UP_TO = 16  # dimensions whose divergence is exact in training


@final
class NeuralFlow(UnitFlow):
    """The flow of a network, with the solver and the divergence that it is trained with.

    Args:
        network: Drift, called as net(z (N, *event), t (N,)) or net(z, t, context).
        event_shape: Shape of one example.
        solver: Solver of training.
        divergence: Divergence of training; exact up to EXACT_UP_TO dimensions, one Rademacher probe above, if None.
    """

    def __init__(
        self,
        network: nn.Module,
        event_shape: tuple[int, ...],
        solver: ODESolver,
        divergence: Divergence | None = None,
    ) -> None:
        super().__init__(event_shape)
        if divergence is None:
            exact = math.prod(event_shape) <= EXACT_UP_TO
            divergence = ExactDivergence(chunk=None) if exact else Hutchinson(probes=1)
        self.network, self.solver, self.divergence = network, solver, divergence

    def field(self, context: Tensor | None = None) -> Callable[[Tensor, Tensor], Tensor]:
        """The network as a function (t, z)."""
        return drift_field(self.network, context)

    def log_contraction(self) -> Tensor:
        """Zero: the flow starts in unit coordinates."""
        return torch.zeros((), dtype=self.loc.dtype, device=self.loc.device)

    def carry(self, x: Tensor, context: Tensor | None = None, *, penalties: bool = False) -> Carried:
        """Carry data to noise with the solver and the divergence of training.

        Args:
            x: Data, (N, *event).
            context: Context, (N, C), or None.
            penalties: Integrate kinetic energy and squared Jacobian norm too.

        Returns:
            Noise and log-density, unbiased over probes up to the solver's error.
        """
        return carry(self, x, context, self.divergence, self.solver, penalties=penalties)
