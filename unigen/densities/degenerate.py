"""The density of a distribution that lives on a plane: there is none, and the error says what has one."""

from __future__ import annotations

from torch import Tensor

from unigen.densities.density import Density
from unigen.errors import NoDensityError
from unigen.logprob import Kind, LogProb
from unigen.program import Program


class Degenerate(Density):
    """No density: the distribution lives on a plane. Asking for one, or for its kind, raises, and names PPCA."""

    @property
    def kind(self) -> Kind:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Raise NoDensityError."""
        raise NoDensityError(
            "all mass lies on a plane, so x has no density",
            program="PCA",
            site="x",
            hint="PPCA, which has noise σ² > 0",
        )

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Raise NoDensityError."""
        raise NoDensityError(
            "all mass lies on a plane, so x has no density",
            program=program.name,
            site="x",
            hint=f"PPCA(features={program.event_shape[0]}, latents=q), the same model with noise σ² > 0",
        )
