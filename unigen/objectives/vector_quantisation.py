"""Training through a quantiser: the bound of the nearest codes, its gradient passed straight through them.

    minimise −log p(x | z) − log p(z) + κ Σ_j ‖v_j − e_{z_j}‖²,    v the encoder's output, z its nearest codes

The first two terms are a bound: log p(x) = log Σ_z p(x, z) ≥ log p(x, z). No gradient passes the codes from the prior
to the encoder, so that both stages of the usual training, codes under a uniform prior and then the prior on settled
codes, are one sum; the prior may be fitted on, alone, afterwards: ``fit(program.prior, program.encode(x))``.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unigen.distributions.standard import as_distribution
from unigen.errors import ArgumentError
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.program import Program


class VectorQuantisationLoss(ProgramLoss):
    """The negative bound of the nearest codes and the commitment term, in nats an example.

    Args:
        program: A program with ``straight_through`` and a ``prior`` over codes.
        commitment: κ.
    """

    def __init__(self, program: Program, commitment: float) -> None:
        super().__init__(program)
        self.commitment = commitment

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean over the batch."""
        program: Any = self.program
        log_likelihood, z, distance = program.straight_through(x, context)
        prior: Any = as_distribution(program.prior, context)
        log_prior = getattr(prior, "surrogate", prior.log_prob)(z)
        return (self.commitment * distance - log_likelihood - log_prior).mean()


class VectorQuantisation(Objective):
    """Train encoder, codebook, decoder and prior of a program with quantised latents together.

    Args:
        commitment: κ, the weight of ‖v − e‖², which keeps the encoder near the codebook.

    Raises:
        ArgumentError: κ < 0; from ``players``, a program without a quantiser.

    References:
        van den Oord, Vinyals & Kavukcuoglu, Neural discrete representation learning, NeurIPS 2017; Bengio, Léonard &
        Courville, Estimating or propagating gradients through stochastic neurons, 2013.
    """

    def __init__(self, commitment: float = 1.0) -> None:
        if not commitment >= 0:
            raise ArgumentError(site="commitment", got=commitment, expected="≥ 0")
        self.commitment = commitment

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the whole program."""
        if not hasattr(program, "straight_through"):
            raise ArgumentError(
                "the program has no quantiser", program=program.name, got=repr(self), hint="objective=ELBO()"
            )
        return [VectorQuantisationLoss(program, self.commitment).player("bound")]
