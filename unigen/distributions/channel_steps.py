"""Steps that act on the first dimension of an event: channels of an image (C, H, W), or features of a vector (C,).

Notation: x_p the C channels at pixel p of HW (one for a vector); every pixel is mapped alike.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unigen.distributions.event_transforms import EventTransform
from unigen.distributions.flow_steps import Shape, Step


class Linear(EventTransform):
    """z_p = P L (U + diag(σ exp(s))) x_p at every pixel, log |det| = HW Σ_c s_c.

    Args:
        lower: L − I below the diagonal, (C, C); the rest is ignored.
        upper: U above the diagonal, (C, C); the rest is ignored.
        log_scale: s, (C,).
        sign: σ, ± 1, (C,).
        order: The permutation P: row c of the product goes to channel order_c.
        shape: Shape of an event.
    """

    def __init__(
        self, lower: Tensor, upper: Tensor, log_scale: Tensor, sign: Tensor, order: Tensor, shape: Shape
    ) -> None:
        super().__init__(len(shape))
        self.pixels = torch.Size(shape[1:]).numel()
        self.lower = torch.tril(lower, -1) + torch.eye(lower.shape[0], dtype=lower.dtype, device=lower.device)
        self.upper = torch.triu(upper, 1) + torch.diag(sign * log_scale.exp())
        self.log_scale, self.order = log_scale, order

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant."""
        weight = (self.lower @ self.upper).index_select(0, self.order)
        z = weight @ x.flatten(-self.rank + 1) if self.rank > 1 else x @ weight.T
        ladj = self.pixels * self.log_scale.sum()
        return z.reshape(x.shape), ladj.expand(x.shape[: x.dim() - self.rank])

    def _inverse(self, z: Tensor) -> Tensor:
        columns = z.flatten(-self.rank + 1) if self.rank > 1 else z[..., None]
        columns = columns.index_select(-2, self.order.argsort())
        y = torch.linalg.solve_triangular(self.lower, columns, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(self.upper, y, upper=True).reshape(z.shape)


class LinearStep(Step):
    """An invertible C × C matrix in LU form, a random rotation at first; on images a 1×1 convolution.

    References:
        Kingma & Dhariwal, Glow: generative flow with invertible 1×1 convolutions, NeurIPS 2018.
    """

    sign: Tensor
    order: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        rotation = torch.linalg.qr(torch.randn(shape[0], shape[0], dtype=torch.float64))[0]
        p, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        default = torch.get_default_dtype()
        self.lower = nn.Parameter(torch.tril(lower, -1).to(default))
        self.upper = nn.Parameter(torch.triu(upper, 1).to(default))
        self.log_scale = nn.Parameter(diagonal.abs().log().to(default))
        self.register_buffer("sign", diagonal.sign().to(default))
        self.register_buffer("order", p.argmax(1))

    def forward(self, context: Tensor | None = None) -> EventTransform:
        """Return the transform."""
        return Linear(self.lower, self.upper, self.log_scale, self.sign, self.order, self.shape)


class Scaled(EventTransform):
    """z_p = (x_p + b) exp(s), log |det| = HW Σ_c s_c; b and s (C, 1, 1)."""

    def __init__(self, shift: Tensor, log_scale: Tensor, shape: Shape) -> None:
        super().__init__(len(shape))
        self.shift, self.log_scale, self.pixels = shift, log_scale, torch.Size(shape[1:]).numel()

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant."""
        ladj = self.pixels * self.log_scale.sum()
        return (x + self.shift) * self.log_scale.exp(), ladj.expand(x.shape[: x.dim() - self.rank])

    def _inverse(self, z: Tensor) -> Tensor:
        return z * (-self.log_scale).exp() - self.shift


class ActNormStep(Step):
    """Scale and shift of every channel, set by ``initialise`` so that what leaves has mean 0 and variance 1."""

    starts_from_data = True

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        column = (shape[0], *(1 for _ in shape[1:]))
        self.shift, self.log_scale = nn.Parameter(torch.zeros(column)), nn.Parameter(torch.zeros(column))

    def forward(self, context: Tensor | None = None) -> EventTransform:
        """Return the transform."""
        return Scaled(self.shift, self.log_scale, self.shape)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set shift and scale from x (N, *shape)."""
        channels = x.transpose(0, 1).flatten(1)
        sd = channels.std(1)
        sd = torch.where(sd > 1e-6, sd, torch.ones_like(sd))  # a constant channel keeps its scale
        self.shift.copy_(-channels.mean(1).reshape(self.shift.shape))
        self.log_scale.copy_(-sd.log().reshape(self.log_scale.shape))


class Permuted(EventTransform):
    """z_k = x_{order_k} along the first dimension of an event; volume is preserved."""

    def __init__(self, order: Tensor, rank: int) -> None:
        super().__init__(rank)
        self.order = order

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and zeros."""
        return x.index_select(-self.rank, self.order), x.new_zeros(x.shape[: x.dim() - self.rank])

    def _inverse(self, z: Tensor) -> Tensor:
        return z.index_select(-self.rank, self.order.argsort())


class PermutationStep(Step):
    """A fixed order of features or channels."""

    order: Tensor

    def __init__(self, shape: Shape, order: Tensor) -> None:
        super().__init__(shape)
        self.register_buffer("order", order)

    def forward(self, context: Tensor | None = None) -> EventTransform:
        """Return the transform."""
        return Permuted(self.order, len(self.shape))
