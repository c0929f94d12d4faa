"""Exact maximum likelihood: by gradient, in closed form, or by expectation–maximisation.

minimise −1/N Σ_i log p(x_i)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from unigen.checks import chunks
from unigen.errors import NoDensityError
from unigen.logprob import Kind
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.program import Program


class LikelihoodLoss(ProgramLoss):
    """−log p(x) in nats an example, for a program whose density is exact."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean of −log p over the batch."""
        return -self.program.density_of(x, context).value.mean()


class MaximumLikelihood(Objective):
    """Minimise −log p(x) by gradient.

    Raises:
        NoDensityError: The program's density is not exact.
    """

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the whole program."""
        if program.kind is not Kind.EXACT:
            raise NoDensityError(
                "exact maximum likelihood needs an exact density",
                program=program.name,
                got=f"kind {program.kind}",
                hint="objective=ELBO()",
            )
        return [LikelihoodLoss(program).player("likelihood")]


class HasClosedForm(Protocol):
    """A program that can write its maximum-likelihood parameters down."""

    def solve(self, x: Tensor) -> None:
        """Set the parameters to their maximum-likelihood values.

        Data in a file come as a tensor over that file: on the CPU, in the dtype of the file.
        """


class HasEMStep(Protocol):
    """A program with an expectation–maximisation step."""

    def em_step(self, x: Tensor) -> None:
        """Replace the parameters by argmax_θ E_{p(z|x,θ_old)} log p(x, z | θ)."""


@torch.no_grad()
def mean_loss(loss: ProgramLoss, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Return the mean loss of all data, computed a chunk of rows at a time.

    Args:
        loss: A loss that is a mean over the examples of its batch.
        x: Data, shape (N, *event), on any device and of any dtype: each chunk is converted to the program's.
        context: Context, shape (N, C), or None.

    Returns:
        Scalar in float64, in the unit of the loss.
    """
    total, start = torch.zeros((), dtype=torch.float64, device=loss.program.device), 0
    for rows in chunks(x):
        stop = start + rows.shape[0]
        rows = rows.to(device=loss.program.device, dtype=loss.program.dtype)
        each = loss(rows, None if context is None else context[start:stop])
        total, start = total + each.double() * (stop - start), stop
    return total / x.shape[0]


def _update(
    program: Program, change: Callable[[Tensor], None], loss: LikelihoodLoss
) -> Callable[..., Tensor]:
    def update(x: Tensor, context: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            change(x)
        return mean_loss(loss, x, context)

    return update


class ClosedForm(Objective):
    """Maximum likelihood in one call of ``program.solve(x)``."""

    def players(self, program: Program) -> list[Player]:
        """Return one player whose single update solves the problem."""
        if not hasattr(program, "solve"):
            raise NoDensityError("no closed form", program=program.name, hint="objective=ELBO()")
        loss = LikelihoodLoss(program)
        return [Player("closed form", loss, update=_update(program, program.solve, loss), once=True)]


class EM(Objective):
    """Expectation–maximisation: ``program.em_step(x)`` until the likelihood stops rising.

    References:
        Dempster, Laird & Rubin 1977; Neal & Hinton 1998.
    """

    def players(self, program: Program) -> list[Player]:
        """Return one player whose updates are EM steps on all data."""
        if not hasattr(program, "em_step"):
            raise NoDensityError("no EM step", program=program.name, hint="objective=ELBO()")
        if program.kind is not Kind.EXACT:
            hint = "objective=ELBO(enumerate=True)"
            raise NoDensityError(
                "EM needs an exact density", program=program.name, got=f"kind {program.kind}", hint=hint
            )
        loss = LikelihoodLoss(program)
        return [Player("em", loss, update=_update(program, program.em_step, loss))]
