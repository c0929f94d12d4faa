"""What every continuous flow of data to noise has: unit coordinates, a velocity, and the way in and out.

    z_start = contraction (x − loc) / scale,    dz/dt = velocity(t, z, c),    z_1 ~ N(0, I)

Notation: x (N, *event) data, u = (x − loc) / scale, c (N, C) context; time t runs from start (data) to 1 (noise).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from unigen.dynamics.evaluations import Evaluations
from unigen.errors import ArgumentError


class UnitFlow(nn.Module, ABC):
    """A flow from data to N(0, I), of which subclasses know the velocity.

    Args:
        event_shape: Shape of one example.
        start: Time of the data.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, event_shape: tuple[int, ...], start: float = 0.0) -> None:
        super().__init__()
        self.start = float(start)
        self.evaluations = Evaluations()
        self.register_buffer("loc", torch.zeros(event_shape))
        self.register_buffer("scale", torch.ones(event_shape))

    @abstractmethod
    def field(self, context: Tensor | None = None) -> Callable[[Tensor, Tensor], Tensor]:
        """The velocity dz/dt given a context.

        Args:
            context: Context, (N, C), or None.

        Returns:
            A function (t (), z (N, *event)) -> (N, *event).
        """

    @abstractmethod
    def log_contraction(self) -> Tensor:
        """Log of the factor between unit coordinates and the state at the start, ()."""

    def draw_base(self, n: int) -> Tensor:
        """Noise at t = 1, (n, *event): N(0, I) unless the flow has another base."""
        return torch.randn(n, *self.loc.shape, dtype=self.loc.dtype, device=self.loc.device)

    def base_log_prob(self, z: Tensor) -> Tensor:
        """Log density of the noise at t = 1, (N,), in nats."""
        return -0.5 * sum_events(z.square()) - 0.5 * z[:1].numel() * math.log(2.0 * math.pi)

    def to_unit(self, x: Tensor) -> Tensor:
        """u = (x − loc) / scale, (N, *event)."""
        return (x - self.loc) / self.scale

    def from_unit(self, u: Tensor) -> Tensor:
        """x = loc + scale u, (N, *event)."""
        return self.loc + self.scale * u

    def log_volume(self) -> Tensor:
        """Σ log scale, (), in nats: log p(x) = log p(u) − log_volume."""
        return torch.log(self.scale).sum()

    def enter(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z_start of data, (N, *event), and log |det ∂z_start/∂x|, ()."""
        log_contraction = self.log_contraction()
        return torch.exp(log_contraction) * self.to_unit(x), x[
            :1
        ].numel() * log_contraction - self.log_volume()

    def leave(self, z: Tensor) -> Tensor:
        """Data x of z_start, (N, *event)."""
        return self.from_unit(z / torch.exp(self.log_contraction()))

    @torch.no_grad()
    def standardise(self, x: Tensor, each: bool = True) -> None:
        """Take loc and scale from data.

        Args:
            x: Data, (N, *event).
            each: One scale a feature; otherwise one for all.
        """
        self.loc.copy_(x.mean(0))
        spread = (x - self.loc).square()
        spread = spread.mean(0) if each else spread.mean().expand_as(self.scale)
        self.scale.copy_(spread.sqrt().clamp_min(1e-3 * float(spread.max().sqrt()) + 1e-12))


def sum_events(x: Tensor) -> Tensor:
    """Sum over the event: (N, *event) -> (N,)."""
    return x.flatten(1).sum(1)


def flow_of(program: nn.Module) -> UnitFlow:
    """Return a program's flow between data and noise.

    Raises:
        ArgumentError: It has none.
    """
    flow = next((part for part in program.children() if isinstance(part, UnitFlow)), None)
    if flow is None:
        raise ArgumentError(
            "only a program whose draws follow a differential equation has a flow from data to noise",
            program=type(program).__name__,
            hint="ug.CNF(features) or ug.Diffusion(features)",
        )
    return flow
