"""Several scales: pixels become channels, and half of the channels leave to the noise early.

Notation: an event has shape (C, H, W), or (C,); x_a its first and x_b its last channels.

References:
    Dinh, Sohl-Dickstein & Bengio, Real NVP, ICLR 2017; Kingma & Dhariwal, Glow, NeurIPS 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unigen.distributions.bijection import inverse
from unigen.distributions.event_transforms import Chain, EventTransform
from unigen.distributions.flow_steps import Shape, Step


class Squeezed(EventTransform):
    """(C, H, W) to (4C, H/2, W/2): each 2 × 2 block of pixels becomes four channels; volume is preserved."""

    def __init__(self) -> None:
        super().__init__(3)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and zeros."""
        return torch.nn.functional.pixel_unshuffle(x, 2), x.new_zeros(x.shape[:-3])

    def _inverse(self, z: Tensor) -> Tensor:
        return torch.nn.functional.pixel_shuffle(z, 2)

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Return (…, 4C, H/2, W/2)."""
        return torch.Size((*shape[:-3], 4 * shape[-3], shape[-2] // 2, shape[-1] // 2))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Return (…, C/4, 2H, 2W)."""
        return torch.Size((*shape[:-3], shape[-3] // 4, 2 * shape[-2], 2 * shape[-1]))


class SqueezeStep(Step):
    """Space to channels."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, (4 * shape[0], shape[1] // 2, shape[2] // 2))

    def forward(self, context: Tensor | None = None) -> EventTransform:
        """Return the transform."""
        return Squeezed()


class FactoredOut(EventTransform):
    """z_b = f(x_b), z_a = g(x_a; φ(x_b)): half of the channels leave early, the other half go on.

    Args:
        early: A coupling that keeps b and maps a given b.
        late: f on x_b; what it gives is put back into the shape of x_b.
        count: Number of channels that go on; they come last.
        shape: Shape of an event.
    """

    def __init__(self, early: EventTransform, late: Chain, count: int, shape: Shape) -> None:
        super().__init__(len(shape))
        self.early, self.late, self.count = early, late, count
        self.parts = (early, late)
        self.bijective = early.bijective and late.bijective
        self.inside = torch.Size((count, *shape[1:]))

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = x.shape[-self.rank] - self.count
        return x.narrow(-self.rank, 0, first), x.narrow(-self.rank, first, self.count)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant."""
        y, first = self.early.call_and_ladj(x)
        a, b = self._halves(y)
        z_b, second = self.late.call_and_ladj(b)
        return torch.cat((a, z_b.reshape(*b.shape)), dim=-self.rank), first + second

    def _inverse(self, z: Tensor) -> Tensor:
        a, z_b = self._halves(z)
        batch = z.shape[: z.dim() - self.rank]
        b = inverse(self.late, z_b.reshape(*batch, *self.late.forward_shape(self.inside)))
        return inverse(self.early, torch.cat((a, b), dim=-self.rank))


class FactorOutStep(Step):
    """Half of the channels leave to the noise, given the other half; that half goes through more steps.

    Args:
        shape: Shape of an event.
        early: Coupling step whose channels a, the last ones, stay and condition the first ones.
        late: Steps for the last channels.
    """

    starts_from_data = True

    def __init__(self, shape: Shape, early: Step, late: list[Step]) -> None:
        super().__init__(shape)
        self.count = late[0].shape[0]
        self.early, self.late = early, nn.ModuleList(late)

    def forward(self, context: Tensor | None = None) -> EventTransform:
        """Return the transform."""
        late = Chain([step(context) for step in self.late])
        return FactoredOut(self.early(context), late, self.count, self.shape)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Pass the data that go on through the steps inside, each of which sets its values."""
        x = x[:, self.shape[0] - self.count :]
        for step in self.late:
            assert isinstance(step, Step)
            step.initialise(x, context)
            x = step(context)(x)
