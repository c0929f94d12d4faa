"""Empirical: the distribution of a data set, drawn from with replacement."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from unigen.checks import check_data
from unigen.distributions.implicit import Implicit
from unigen.errors import ShapeError


@final
class Empirical(nn.Module):
    """The empirical distribution of points, as a part of a program: it has draws and no density.

    1/M Σ_j δ(z − z_j)

    Args:
        points: z_j, (M, *event).

    Raises:
        ShapeError, EmptyDataError, NonFiniteError, DTypeError: Bad points.

    Example:
        >>> Empirical(torch.tensor([[1.0], [2.0]]))().sample((3,)).shape
        torch.Size([3, 1])
    """

    points: Tensor

    def __init__(self, points: object) -> None:
        super().__init__()
        shape = tuple(getattr(points, "shape", (1, 1)))
        if len(shape) < 2:
            raise ShapeError(
                program="Empirical", site="points", got=shape, expected="(M, *event)", hint="z[:, None]"
            )
        dtype = points.dtype if isinstance(points, Tensor) else torch.get_default_dtype()
        rows = check_data(points, torch.Size(shape[1:]), constraints.real, dtype, "Empirical", "points")
        self.register_buffer("points", rows.detach().clone())

    def forward(self) -> Implicit:
        """Return the distribution, batch shape ()."""

        def draw(shape: torch.Size) -> Tensor:
            chosen = torch.randint(self.points.shape[0], tuple(shape), device=self.points.device)
            return self.points[chosen]

        return Implicit(tuple(self.points.shape[1:]), draw, reparameterised=False, name="Empirical")
