r"""The Ornstein–Uhlenbeck process given noisy observations: its control, its ELBO under Euler's scheme, its evidence.

Notation: dz = θ (μ − z) dt + σ dW from its stationary law, x_i = z(t_i) + N(0, s²) at irregular times. Then z is a
Gaussian process with kernel σ²/(2θ) e^{−θ|t − t'|}, and x one Gaussian vector. Given x the path is again a diffusion,
with the control

    u*(z, t) = σ ∂_z log p(x_{t_i > t} | z_t = z) = σ (b(t) − a(t) z),

a and b from a filter that runs backwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from unigen.dynamics.solver_grid import SolverGrid


class OUDrift(nn.Module):
    """θ (μ − z)."""

    def __init__(self, theta: float, mu: float) -> None:
        super().__init__()
        self.theta, self.mu = theta, mu

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Drift, the shape of x."""
        return self.theta * (self.mu - x)


class Conditioned(nn.Module):
    """The control of an OU process given noisy observations, times a factor: 1 is the posterior, 0 the prior.

    Args:
        grid: Times of observation.
        values: x, one number a time.
        theta: θ.
        mu: μ.
        sigma: σ.
        noise: s.
        factor: Of the control.
    """

    a: Tensor
    b: Tensor

    def __init__(
        self, grid: SolverGrid, values: Sequence[float], theta: float, mu: float, sigma: float, noise: float,
        factor: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.grid, self.theta, self.mu, self.sigma, self.factor = grid, theta, mu, sigma, factor
        x = torch.tensor(values, dtype=torch.float64)
        a, b = torch.full_like(x[0], noise**-2), x[-1] * noise**-2
        found = [torch.stack((a, b))]
        for (early, late), value in zip(reversed(list(pairwise(grid.times))), x[:-1].flip(0), strict=True):
            a, b = self.carry(a, b, torch.full_like(a, late - early))
            a, b = a + noise**-2, b + value * noise**-2
            found.append(torch.stack((a, b)))
        table = torch.stack(found[::-1])
        self.register_buffer("a", table[:, 0])
        self.register_buffer("b", table[:, 1])

    def carry(self, a: Tensor, b: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients of −½ a z² + b z after a time h backwards without observations."""
        d = torch.exp(-self.theta * h)
        v = self.sigma**2 * -torch.expm1(-2 * self.theta * h) / (2 * self.theta)
        r = 1 + a * v
        return a * d * d / r, d * (b - a * self.mu * (1 - d)) / r

    def forward(self, x: Tensor, t: Tensor, c: Tensor | None = None) -> Tensor:
        """u, the shape of x (..., 1)."""
        index, following = self.grid.ahead(t)
        a, b = self.carry(self.a[index], self.b[index], following - t)
        return self.factor * self.sigma * (b[..., None] - a[..., None] * x)


def gp_evidence(
    times: Sequence[float], values: Sequence[float], theta: float, mu: float, sigma: float, noise: float
) -> float:
    """Return log N(x; μ, K + s² I), K the OU kernel, in nats."""
    t = torch.tensor(times, dtype=torch.float64)
    kernel = sigma**2 / (2 * theta) * torch.exp(-theta * (t[:, None] - t).abs())
    law = torch.distributions.MultivariateNormal(
        torch.full_like(t, mu), kernel + noise**2 * torch.eye(t.shape[0], dtype=torch.float64)
    )
    return law.log_prob(torch.tensor(values, dtype=torch.float64)).item()


def start(control: Conditioned) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of z_0 given the observations, under the stationary prior."""
    precision = 2 * control.theta / control.sigma**2
    total = precision + control.a[0]
    return (precision * control.mu + control.b[0]) / total, total**-0.5


def elbo_by_moments(control: Conditioned, values: Sequence[float], noise: float) -> float:
    """Return the ELBO of the Euler scheme under a linear control, exactly, from moments of z, in nats."""
    theta, mu, sigma, f = control.theta, control.mu, control.sigma, control.factor
    loc, scale = start(control)
    m, v, v_0 = loc.item(), scale.item() ** 2, sigma**2 / (2 * theta)
    total = -0.5 * (v / v_0 + (m - mu) ** 2 / v_0 - 1 - math.log(v / v_0))
    seen = dict(zip(control.grid.stops, values, strict=True))
    points = control.grid.points
    for k, t in enumerate(points):
        if k in seen:
            total -= 0.5 * (math.log(2 * math.pi * noise**2) + ((seen[k] - m) ** 2 + v) / noise**2)
        if k == len(points) - 1:
            return total
        index, following = control.grid.ahead(torch.tensor(t, dtype=torch.float64))
        a, b = (x.item() * f for x in control.carry(control.a[index], control.b[index], following - t))
        h = points[k + 1] - t
        total -= 0.5 * h * sigma**2 * ((b - a * m) ** 2 + a * a * v)
        keep = 1 - h * (theta + sigma**2 * a)
        m, v = keep * m + h * (theta * mu + sigma**2 * b), keep**2 * v + sigma**2 * h
    return total
