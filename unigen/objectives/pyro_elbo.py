"""An ELBO of ``pyro.infer`` as an objective, where it has a differentiable loss (Trace, TraceMeanField, TraceEnum)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unigen.errors import ArgumentError
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.program import Program
from unigen.traces import isolated


class PyroLoss(ProgramLoss):
    """Pyro's own loss of a minibatch, divided by its size: nats an example; holds the program."""

    elbo: Any

    def __init__(self, program: Program, elbo: Any) -> None:
        super().__init__(program)
        self.__dict__["elbo"] = elbo

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the loss."""
        n = x.shape[0]
        with isolated():
            loss = self.elbo.differentiable_loss(self.program.model, self.program.guide, x, context, n)
        return loss / n


class PyroELBO(Objective):
    """Minimise a loss of ``pyro.infer``; ``fit`` wraps one that it is given as an objective.

    Args:
        elbo: For example ``pyro.infer.TraceMeanField_ELBO()``.

    Raises:
        ArgumentError: It has no ``differentiable_loss``, or a latent outside the plate would need Pyro's own
            minibatch scaling.

    Example:
        >>> import pyro.infer, torch, unigen as ug
        >>> vae = ug.VAE(features=3, latents=1, hidden=(4,))
        >>> ug.fit(vae, torch.randn(20, 3), objective=pyro.infer.TraceMeanField_ELBO(), steps=2).steps
        2
    """

    def __init__(self, elbo: Any) -> None:
        if not hasattr(elbo, "differentiable_loss"):
            raise ArgumentError(
                site="objective",
                got=type(elbo).__name__,
                expected="an objective, or an ELBO of pyro.infer with a `differentiable_loss`",
                hint="SVI(program.model, program.guide, optim, elbo) runs any of Pyro's estimators",
            )
        self.elbo = elbo

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains model and guide together."""
        if program.structure.shared:
            raise ArgumentError(
                "a latent outside the plate needs Pyro's minibatch scaling",
                program=program.name,
                hint="objective=ug.ELBO(), or Pyro's SVI on program.model and program.guide",
            )
        return [PyroLoss(program, self.elbo).player(type(self.elbo).__name__)]
