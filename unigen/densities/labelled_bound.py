"""The bound on the log-density of partly labelled rows, every class summed out.

    log p(x, l) ≥ Σ_y q(y | x, l) (log p(x | y) + log π_y − log q(y | x, l)),    l the label, or NaN

where q is one at the label that is given: then it is log p(x | l) + log π_l. A bound on log p(x | y) leaves a bound.
With Bayes' rule as q and exact densities the two sides are equal.
"""

from __future__ import annotations

from typing import Any, final

from torch import Tensor

from unigen.densities.density import Density
from unigen.distributions.with_label import average
from unigen.errors import NoDensityError
from unigen.logprob import Kind, LogProb
from unigen.program import Program


@final
class LabelledBound(Density):
    """Σ_y q_y (b_y + log π_y − log q_y) of a program with ``joint`` and ``log_posterior``.

    Args:
        kind: Exact, or the kind of the bound.
    """

    def __init__(self, kind: Kind = Kind.LOWER_BOUND) -> None:
        self._kind = kind

    @property
    def kind(self) -> Kind:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Kind of the value."""
        return self._kind

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Return the bound of rows x (N, D + 1) in nats, shape (N,).

        Raises:
            NoDensityError: The program has no labels.
        """
        if not hasattr(program, "log_posterior"):
            raise NoDensityError("the program has no labels", program=program.name, hint="Labelled(program)")
        labelled: Any = program
        joint = labelled.joint(x)
        value = average(labelled.log_posterior(x, joint), joint)
        return LogProb(value, self.kind, None, max(1, program.event_shape.numel() - 1))
