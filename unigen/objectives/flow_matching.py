"""Conditional flow matching: regression of the velocity on the paths of an interpolant.

    L = E_{x, eps, t} ‖v(t, z_t) − (alpha' u + sigma' eps)‖²,      z_t = alpha u + sigma eps,      t uniform.

The floor of L is the expected conditional variance of the target given z_t, which is not zero: L measures the fit only
in comparison. It is in squared units of u = (x − loc) / scale an example, not in nats.
"""

from __future__ import annotations

from typing import final

from torch import Tensor

from unigen.dynamics.interpolant_flow import interpolant_flow_of
from unigen.dynamics.times import LowDiscrepancyTimes, Times
from unigen.objectives.objective import Objective, Player, ProgramLoss, trainable
from unigen.program import Program


class FlowMatchingLoss(ProgramLoss):
    """The squared error of the velocity; holds the program.

    Args:
        program: What is trained.
        times: How times are drawn.
    """

    def __init__(self, program: Program, times: Times) -> None:
        super().__init__(program)
        self.times = times

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean squared error over the batch, at one time and one noise an example."""
        flow = interpolant_flow_of(self.program)
        u, t = flow.to_unit(x), flow.at(self.times.draw(x))
        eps = flow.coupling.pair(u, flow.draw_base(x.shape[0]))
        return flow.velocity_error(u, t, eps, context).mean()


@final
class ConditionalFlowMatching(Objective):
    """Train the velocity of a flow by regression, without solving its ODE; a base stays as it is.

    Args:
        times: How the times of a batch are drawn.

    References:
        Lipman et al., Flow matching for generative modeling, 2023; Albergo & Vanden-Eijnden 2023; Tong et al. 2024.
    """

    def __init__(self, times: Times = LowDiscrepancyTimes()) -> None:
        self.times = times

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the network.

        Raises:
            ArgumentError: The program has no flow along an interpolant.
        """
        interpolant_flow_of(program)
        loss = FlowMatchingLoss(program, self.times)
        return [Player("flow matching", loss, trainable(loss, "program.flow.network"))]
