"""The density of a program that has none: every query is refused, with what to use instead."""

from __future__ import annotations

from typing import final

from torch import Tensor

from unigen.densities.density import Density
from unigen.errors import NoDensityError
from unigen.logprob import Kind, LogProb
from unigen.program import Program


@final
class NoDensity(Density):
    """Refuses every density query of an implicit model."""

    @property
    def kind(self) -> Kind:  # pyright: ignore[reportIncompatibleVariableOverride]
        """There is none."""
        raise no_density()

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Refuse.

        Raises:
            NoDensityError: Always.
        """
        raise no_density(program.name)


def no_density(name: str = "GAN") -> NoDensityError:
    """Return the error to raise where an implicit model is asked for a density."""
    return NoDensityError(
        "draws only, no density",
        program=name,
        site="x",
        hint="a two-sample metric on program.sample(n), the log density ratio of its critic "
        "(critic.log_ratio(x)), or a family with a density (NSF, VAE, Diffusion)",
    )
