"""A network that is affine in the state and piecewise linear in time, so that its regression is solved, not trained.

net(x, t) = Σ_k φ_k(t) (W_k x + c_k),    φ_k the hat functions of equally spaced knots on [0, 1]
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError
from unigen.nn.residual import broadcast_time

RIDGE = 1e-8  # relative to the mean square of the regressors


@final
class AffineInTime(nn.Module):
    """An affine map of x (N, D) whose coefficients are linear in t between knots; zero at initialisation.

    Every conditional mean E[x_1 | x_t] of jointly Gaussian variables is of this form, up to the interpolation in t.

    Args:
        features: D.
        knots: K, number of knots on [0, 1].

    Raises:
        ArgumentError: D < 1 or K < 2.

    Example:
        >>> net, x = AffineInTime(1, knots=3), torch.linspace(-1, 1, 50)[:, None]
        >>> net.solve(x, torch.arange(50) * 0.37 % 1, 2 * x + 1)
        >>> round(net(torch.ones(1, 1), torch.tensor(0.3)).item(), 3)
        3.0
    """

    def __init__(self, features: int, knots: int = 16) -> None:
        super().__init__()
        if features < 1 or knots < 2:
            got = f"features={features}, knots={knots}"
            raise ArgumentError(program="AffineInTime", got=got, expected="features ≥ 1, knots ≥ 2")
        self.features, self.knots = features, knots
        self.weight = nn.Parameter(torch.zeros(knots * (features + 1), features))

    def regressors(self, x: Tensor, t: Tensor) -> Tensor:
        """Return φ_k(t) (x, 1) for all k, (N, K (D + 1))."""
        knots = torch.arange(self.knots, dtype=x.dtype, device=x.device)
        hats = (1 - (broadcast_time(t, x)[..., None] * (self.knots - 1) - knots).abs()).clamp_min(0)
        extended = torch.cat([x, torch.ones_like(x[..., :1])], -1)
        return (hats[..., None] * extended[..., None, :]).flatten(-2)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the map at x (N, D) and t, () or (N,)."""
        return self.regressors(x, t) @ self.weight

    @torch.no_grad()
    def solve(self, x: Tensor, t: Tensor, target: Tensor) -> None:
        """Set the weights to the least-squares fit of a target, in float64.

        Args:
            x: States, (N, D).
            t: Times, (N,).
            target: (N, D).
        """
        phi = self.regressors(x.double(), t.double())
        gram = phi.mT @ phi
        gram.diagonal().add_(RIDGE * gram.diagonal().mean())
        self.weight.copy_(torch.linalg.solve(gram, phi.mT @ target.double()))
