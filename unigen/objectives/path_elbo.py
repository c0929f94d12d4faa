"""The ELBO of a latent SDE by an SDE solver of one's choice, with gradients through its steps or by the adjoint SDE.

    ELBO = E_q [ Σ_i log p(x_i | z(t_i)) − ½ ∫ ‖u‖² dt ] − KL(q(z_0) ‖ p(z_0))

With the Euler method this is, in expectation, the ELBO of the program itself, whose path is Euler's.
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from unigen.distributions.sde_path import SDEPath
from unigen.dynamics.path_kl import ITO, STRATONOVICH, check_noise, integrate_with_kl
from unigen.errors import ArgumentError
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.program import Program


class PathELBOLoss(ProgramLoss):
    """−ELBO in nats an example; holds the program.

    Args:
        program: A latent SDE.
        objective: The options.
    """

    def __init__(self, program: Program, objective: PathELBO) -> None:
        super().__init__(program)
        self.method, self.adjoint, self.samples = objective.method, objective.adjoint, objective.samples

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean of −ELBO over the batch."""
        program: Any = self.program
        x = x.repeat(self.samples, *(1,) * (x.dim() - 1))
        q, h = program.controlled(x)
        p: SDEPath = program.prior()
        fields = (program.drift, program.control, program.diffusion)
        wanted = [h, *(w for field in fields for w in field.parameters())] if self.adjoint else None
        states, energy = integrate_with_kl(
            lambda t, z: program.drift(z, t),
            lambda t, z: program.control(z, t, program.context(h, t)),
            lambda t, z: program.diffusion(z, t),
            q.start.rsample(),
            program.grid.points,
            program.grid.stops,
            self.method,
            adjoint=wanted,
        )
        terms = program.emit(states.movedim(0, -2)).log_prob(x) - energy - kl_divergence(q.start, p.start)
        return -terms.mean()


@final
class PathELBO(Objective):
    """Maximise the ELBO of a latent SDE by torchsde, in nats an example.

    Args:
        method: ``euler``, ``milstein``, ``srk``; or ``heun``, ``midpoint``, ``euler_heun``, ``reversible_heun``
            where the noise does not depend on the state.
            ``reversible_heun`` loses a path that is pulled hard: its error grows as e^{rate · time}.
        adjoint: Gradients by the adjoint SDE: memory independent of the number of steps, and an error of the order of a
            step (none with ``reversible_heun``).
        samples: Paths an example.

    Raises:
        ArgumentError: An unknown method, or no sample; from ``players``: a program without a controlled SDE, or a
            method that does not fit its noise.

    References:
        Li, Wong, Chen & Duvenaud 2020; Kidger, Foster, Li & Lyons, Efficient and accurate gradients for neural SDEs,
        2021.
    """

    def __init__(self, method: str = "euler", adjoint: bool = False, samples: int = 1) -> None:
        if method not in ITO + STRATONOVICH:
            expected = " | ".join(ITO + STRATONOVICH)
            raise ArgumentError(program="PathELBO", site="method", got=method, expected=expected)
        if samples < 1:
            raise ArgumentError(program="PathELBO", site="samples", got=samples, expected="≥ 1")
        self.method, self.adjoint, self.samples = method, adjoint, samples

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains model and guide together."""
        if not hasattr(program, "controlled"):
            hint = "ug.LatentSDE(features, times)"
            raise ArgumentError("a path ELBO needs a controlled SDE", program=program.name, hint=hint)
        latent: Any = program
        times = latent.grid.tensor(latent.start)
        state = torch.linspace(-1.0, 1.0, 3, device=times.device, dtype=times.dtype)[:, None].repeat(
            1, latent.latents
        )
        check_noise(self.method, lambda t, z: latent.diffusion(z, t), times[0], state, self.adjoint)
        return [PathELBOLoss(program, self).player("elbo")]
