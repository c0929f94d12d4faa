"""A program around a diffusion or a flow whose score is changed by a guidance, and is otherwise as it was.

    score(z, t) = ∇ log p_t(z | c) + what the guidance adds

Every sampler of a denoiser draws from it, and its density is that of the probability flow of the guided score.
"""

from __future__ import annotations

from typing import final

import pyro
from torch import Tensor

from unigen.densities.density import Density
from unigen.densities.probability_flow import ProbabilityFlow
from unigen.distributions.diffusion import DiffusionDistribution
from unigen.dynamics.flow_denoiser import denoiser_behind
from unigen.dynamics.guidance import Guidance, guided_denoiser
from unigen.errors import ArgumentError
from unigen.objectives.objective import Objective, Player
from unigen.program import Program
from unigen.samplers.ddpm import DDPMAncestral
from unigen.samplers.sampler import Sampler


@final
class _OfTheGuided(Objective):
    """Trains the program that is guided, by its own objective."""

    def players(self, program: Program) -> list[Player]:
        """Return the players of the program inside.

        Raises:
            ArgumentError: The guidance has a context that the program inside does not take, or it has no objective.
        """
        inner: Program = program.__dict__["program"]
        if inner.context_features != program.context_features or inner.objective is None:
            raise ArgumentError(
                "guidance is not trained", program="Guided", hint="fit the program first, and guide it then"
            )
        return inner.objective.players(inner)


class Guided(Program):
    """A program under guidance: drawn by any sampler of a denoiser, with the guided score in place of its own.

    The program inside is shared, not copied: fitting it, before or after, or fitting this one, which is the same, moves
    both. The context is that of the program followed by that of the guidance (one-hot labels of a classifier).

    Args:
        program: A ``Diffusion``, ``DDPM`` or ``FlowMatching`` with normal, independent noise, or a guided one.
        guidance: ``ClassifierFree``, ``ClassifierGuidance`` or ``DPS``.
        sampler: How draws are made by default.
        density: How ``log_prob`` is computed: that of the draws of ``ProbabilityFlowODE``, which guidance normalises
            of itself.

    Raises:
        ArgumentError: The program has no denoiser, or the guidance cannot guide it.
        UnsupportedQueryError: The noise of its flow is not normal, or not independent of the data.

    References:
        Dhariwal & Nichol 2021; Ho & Salimans 2022; Chung et al. 2023; Zheng et al. 2023, Guided flows.

    Example:
        >>> from unigen.models.flow_matching import FlowMatching
        >>> from unigen.dynamics.classifier_free import ClassifierFree
        >>> guided = Guided(FlowMatching(2, hidden=8, blocks=1, context=3), ClassifierFree(scale=2.0))
        >>> print(guided.formula)
        p(x | c) = p_Guided(x | c)
    """

    def __init__(
        self,
        program: Program,
        guidance: Guidance,
        *,
        sampler: Sampler = DDPMAncestral(),
        density: Density = ProbabilityFlow(),
    ) -> None:
        if not isinstance(guidance, Guidance):
            raise ArgumentError(
                program="Guided", argument="guidance", got=type(guidance).__name__, expected="a guidance",
                hint="ug.ClassifierFree(scale), ug.ClassifierGuidance(classifier) or ug.DPS(observation)",
            )  # fmt: skip
        denoiser, c = denoiser_behind(program), program.context_features
        guided = guided_denoiser(denoiser, guidance, c)
        super().__init__(
            tuple(program.event_shape), context=c + guidance.context_features, objective=_OfTheGuided(),
            sampler=sampler, density=density,
        )  # fmt: skip
        self.denoiser, self.guidance = guided, guidance
        self.__dict__["program"] = program  # its parameters are in the denoiser, once
        self.__dict__["recipe"] = program.recipe
        self.fitted = program.fitted

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x | c): one site whose draws are simulated."""
        with self.plate(x, n):
            return pyro.sample("x", DiffusionDistribution.of(self, context), obs=x)

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Give the program inside its starting values."""
        self.__dict__["program"].initialise(x, context)

    def surrogate(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(x | c), (N,), in nats."""
        return self.density_of(x, context).value
