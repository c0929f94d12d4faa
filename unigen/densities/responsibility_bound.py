"""The bound on the log-density of a mixture whose components have bounds only.

    log Σ_k π_k p_k(x) ≥ Σ_k r_k (log π_k + b_k(x) − log r_k),    E b_k(x) ≤ log p_k(x),

for responsibilities r that are independent of the noise of b: here from another evaluation. With exact
densities and exact responsibilities the two sides are equal.
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from unigen.densities.density import Density
from unigen.errors import NoDensityError
from unigen.logprob import Kind, LogProb
from unigen.program import Program


@final
class ResponsibilityBound(Density):
    """Σ_k r_k (log π_k + b_k − log r_k) of a program with ``components``, ``logits`` and a guide over z.

    Args:
        kind: Kind of the components' log-densities together: a bound, an estimate, or unnormalised.

    References:
        Neal & Hinton, A view of the EM algorithm, 1998.
    """

    def __init__(self, kind: Kind = Kind.LOWER_BOUND) -> None:
        self._kind = kind

    @property
    def kind(self) -> Kind:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Kind of the value."""
        return self._kind

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Return the bound in nats, shape (N,), with its Monte Carlo standard error where it has one.

        Raises:
            NoDensityError: The program is no mixture of programs.
        """
        responsibilities: Any = getattr(program, "responsibilities", None)
        if responsibilities is None:
            raise NoDensityError("no mixture of programs", program=program.name, hint="Importance()")
        parts: Any = program.components
        log_r = responsibilities(x, context)
        scored = [p.density_of(x, context if p.context_features else None) for p in parts]
        r, prior = log_r.exp(), program.get_parameter("logits").log_softmax(-1)
        terms = prior + torch.stack([s.value for s in scored], -1) - log_r
        value = torch.where(r > 0, r * terms, 0.0).sum(-1)
        errors = [torch.zeros_like(s.value) if s.stderr is None else s.stderr for s in scored]
        noisy = any(s.stderr is not None for s in scored)
        stderr = (r * torch.stack(errors, -1)).square().sum(-1).sqrt().detach() if noisy else None
        return LogProb(value, self.kind, stderr, max(1, program.event_shape.numel()))
