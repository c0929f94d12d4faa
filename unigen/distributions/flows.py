"""A flow as a module: a stack of bijections and a base, p(x | c) rebuilt at every call.

    z = f_T ∘ … ∘ f_1(x | c),   log p(x | c) = log p_base(z) + Σ_t log |det ∂f_t|

Notation: x has the event shape of the data, z that of the last step; C context features, T steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from unigen.distributions.bijection import inverse
from unigen.distributions.event_transforms import Chain
from unigen.distributions.flow import FlowDistribution
from unigen.distributions.flow_steps import Shape, Step
from unigen.errors import ContextError

ROWS = 1024  # examples from which the starting values of later steps are set


class ChangeOfVariables(nn.Module):
    """p(x | c): steps from data to noise and a base. Call it to get the distribution.

    Args:
        steps: f_1 … f_T, data side first; each takes the shape that the one before it gives.
        context: C.
        name: What messages call it.

    Example:
        >>> from unigen.distributions.layers import Coupling, Standardise, assemble
        >>> flow = ChangeOfVariables(assemble([Standardise(), Coupling()], (3,), 2), context=2)
        >>> flow(torch.zeros(5, 2)).rsample().shape
        torch.Size([5, 3])
    """

    origin: Tensor

    def __init__(self, steps: Sequence[Step], *, context: int = 0, name: str = "Flow") -> None:
        super().__init__()
        self.context, self.name = context, name
        self.steps = nn.ModuleList(steps)
        self.shape: Shape = steps[0].shape
        self.register_buffer("origin", torch.zeros(steps[-1].shape_out), persistent=False)
        self.circular = steps[-1].circular

    @property
    def stack(self) -> list[Step]:
        """The steps, as a list."""
        return [step for step in self.steps if isinstance(step, Step)]

    @property
    def base(self) -> TorchDistribution:
        """The distribution of z: a standard normal, or uniform on the torus [−π, π]^D."""
        rank = self.origin.dim()
        if self.circular:
            half = self.origin + math.pi * (1 + 8 * torch.finfo(self.origin.dtype).eps)
            return dist.Uniform(-half, half, validate_args=False).to_event(rank)
        return dist.Normal(self.origin, torch.ones_like(self.origin), validate_args=False).to_event(rank)

    def transform(self, context: Tensor | None = None) -> Chain:
        """Return z = f(x | c) for a context (..., C)."""
        return Chain([step(context) for step in self.stack])

    def forward(self, context: Tensor | None = None) -> FlowDistribution:
        """Return p(x | c), batch shape that of the context.

        Raises:
            ContextError: The context is missing, superfluous, or not (..., C).
        """
        if (context is None) != (self.context == 0) or (
            context is not None and context.shape[-1] != self.context
        ):
            raise ContextError(
                program=self.name,
                got="no context" if context is None else f"shape {tuple(context.shape)}",
                expected=f"(..., {self.context})" if self.context else "none",
            )
        batch = None if context is None else context.shape[:-1]
        return FlowDistribution(self.transform(context), self.base, batch_shape=batch, name=self.name)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Let each step set its starting values from the data that reach it: x (N, *event), N ≥ 2."""
        last = max((t for t, step in enumerate(self.stack) if step.starts_from_data), default=-1)
        for step in self.stack[: last + 1]:
            step.initialise(x, context)
            x, context = x[:ROWS], None if context is None else context[:ROWS]
            x = step(context)(x)

    @torch.no_grad()
    def round_trip(self, x: Tensor, context: Tensor | None = None) -> float:
        """Return the largest |f⁻¹(f(x)) − x|: by how much the inverse misses on these x."""
        f = self.transform(context)
        z = f(x)
        assert z is not None
        return float((inverse(f, z) - x).abs().max())

    @property
    def inverse_by(self) -> tuple[str, ...]:
        """How draws are made, one entry a step: in one pass, feature by feature, or numerically."""
        return tuple(step.inverse_by for step in self.stack)
