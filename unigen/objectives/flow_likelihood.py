"""Maximum likelihood of a continuous flow, with an optional price on motion.

minimise −1/N Σ_i log p(x_i) + kinetic ∫ ‖v‖² dt + jacobian ∫ ‖∂v/∂z‖²_F dt
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unigen.dynamics.neural_flow import NeuralFlow
from unigen.dynamics.unit_flow import flow_of
from unigen.errors import ArgumentError
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.program import Program


@dataclass(frozen=True)
class RNODE:
    """Prices of motion, which keep a flow straight and its ODE easy to solve.

    Args:
        kinetic: Weight of ∫ ‖v‖² dt, in nats.
        jacobian: Weight of ∫ ‖∂v/∂z‖²_F dt, in nats.

    Raises:
        ArgumentError: A weight is negative.

    References:
        Finlay, Jacobsen, Nurbekyan & Oberman, How to train your neural ODE, ICML 2020.
    """

    kinetic: float = 0.01
    jacobian: float = 0.01

    def __post_init__(self) -> None:
        """Check the weights."""
        if not (self.kinetic >= 0.0 and self.jacobian >= 0.0):
            raise ArgumentError(
                program="RNODE", got=f"kinetic={self.kinetic}, jacobian={self.jacobian}", expected="both ≥ 0"
            )


class FlowLikelihoodLoss(ProgramLoss):
    """−log p(x) by the flow's training solver and divergence, plus a penalty, in nats an example."""

    def __init__(self, program: Program, penalty: RNODE | None) -> None:
        super().__init__(program)
        self.penalty = penalty

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean of −log p, and of the penalty where there is one, over the batch."""
        flow = neural_flow_of(self.program)
        end = flow.carry(x, context, penalties=self.penalty is not None)
        loss = -end.log_prob.mean()
        if self.penalty is None or end.kinetic is None or end.jacobian is None:
            return loss
        price = self.penalty.kinetic * end.kinetic + self.penalty.jacobian * end.jacobian
        return loss + price.mean()


class FlowLikelihood(Objective):
    """Maximise log p(x) of a continuous flow by gradient; unbiased over the probes of the divergence.

    Args:
        penalty: Price of motion, or None for plain maximum likelihood.

    References:
        Grathwohl et al., FFJORD, ICLR 2019.
    """

    def __init__(self, penalty: RNODE | None = None) -> None:
        self.penalty = penalty

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the flow.

        Raises:
            ArgumentError: The program's flow is not one of a neural ODE.
        """
        neural_flow_of(program)
        return [FlowLikelihoodLoss(program, self.penalty).player("likelihood")]


def neural_flow_of(program: Program) -> NeuralFlow:
    """Return a program's flow, that of a neural ODE.

    Raises:
        ArgumentError: It has none.
    """
    flow = flow_of(program)
    if not isinstance(flow, NeuralFlow):
        raise ArgumentError(
            "a diffusion's flow is trained through its denoiser",
            program=program.name,
            hint="objective=DenoisingScoreMatching()",
        )
    return flow
