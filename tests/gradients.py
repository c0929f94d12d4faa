"""Programs of few parameters whose bounds have exact gradients, and a z-test of gradient estimators that has power.

The estimator's mean over M batches is compared with the exact gradient g along g / ‖g‖, for the parameters of model
and guide apart. With s the standard error there and q the two-sided quantile of Student's t at α = 1e-6, a test has
power 1 − 5e-7 for a bias of 2 % if 0.02 ‖g‖ ≥ (q + 4.9) s, which is part of the test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyro
import torch
from pyro import distributions as dist
from scipy import stats
from torch import Tensor, nn

from unigen.objectives.objective import Objective
from unigen.program import Program

ALPHA = 1e-6
BIAS = 0.02


class Line(Program):
    """z ~ N(μ, 1), x | z ~ N(a z, 1/2²); q(z | x) = N(b x + c, e^{2 ρ})."""

    model_parameters = ("mu", "a")
    guide_parameters = ("b", "c", "rho")

    def __init__(self) -> None:
        super().__init__((1,))
        for name, value in {"mu": -1.0, "a": 0.5, "b": 0.8, "c": 0.4, "rho": -0.5}.items():
            setattr(self, name, nn.Parameter(torch.tensor([value], dtype=torch.float64)))

    def model(self, x=None, n=1):
        with self.plate(x, n):
            z = pyro.sample("z", dist.Normal(self.mu, 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(self.a * z, 0.5).to_event(1), obs=x)

    def guide(self, x):
        with self.plate(x):
            scale = self.rho.exp().expand(x.shape)
            return pyro.sample("z", dist.Normal(self.b * x + self.c, scale).to_event(1))

    def log_weight(self, x: Tensor, eps: Tensor) -> Tensor:
        """log w at z = b x + c + e^ρ ε for nodes ε (…, 1), without Pyro."""
        z = self.b * x + self.c + self.rho.exp() * eps[..., 0]
        normal = torch.distributions.Normal
        log_p = normal(self.mu, 1.0).log_prob(z) + normal(self.a * z, 0.5).log_prob(x)
        return log_p - normal(self.b * x + self.c, self.rho.exp()).log_prob(z)


class Chain(Program):
    """y ~ N(μ, 1), z | y ~ N(a y, 1), x | z ~ N(z, 1).

    q(y | x) = N(b x, e^{2 ρ}),    q(z | y, x) = N(c x + d y, e^{2 τ})
    """

    model_parameters = ("mu", "a")
    guide_parameters = ("b", "rho", "c", "d", "tau")

    def __init__(self) -> None:
        super().__init__((1,))
        values = {"mu": -1.0, "a": 0.3, "b": 0.1, "rho": -0.5, "c": 0.2, "d": 0.3, "tau": -0.6}
        for name, value in values.items():
            setattr(self, name, nn.Parameter(torch.tensor([value], dtype=torch.float64)))

    def model(self, x=None, n=1):
        with self.plate(x, n):
            y = pyro.sample("y", dist.Normal(self.mu, 1.0).to_event(1))
            z = pyro.sample("z", dist.Normal(self.a * y, 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with self.plate(x):
            y = pyro.sample("y", dist.Normal(self.b * x, self.rho.exp().expand(x.shape)).to_event(1))
            loc = self.c * x + self.d * y
            return pyro.sample("z", dist.Normal(loc, self.tau.exp().expand(loc.shape)).to_event(1))

    def log_weight(self, x: Tensor, eps: Tensor) -> Tensor:
        """log w at the draws made of nodes ε (…, 2), without Pyro."""
        normal = torch.distributions.Normal
        y = self.b * x + self.rho.exp() * eps[..., 0]
        loc = self.c * x + self.d * y
        z = loc + self.tau.exp() * eps[..., 1]
        log_p = (
            normal(self.mu, 1.0).log_prob(y)
            + normal(self.a * y, 1.0).log_prob(z)
            + normal(z, 1.0).log_prob(x)
        )
        return (
            log_p - normal(self.b * x, self.rho.exp()).log_prob(y) - normal(loc, self.tau.exp()).log_prob(z)
        )


def quadrature(program: Line | Chain, x: Tensor, k: int, nodes: int) -> Tensor:
    """L_k, the mean over x (N, 1), by Gauss–Hermite quadrature over all ε of all k draws; differentiable."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    eps, p = torch.from_numpy(points), torch.from_numpy(weights / math.sqrt(2 * math.pi))
    d = 1 if isinstance(program, Line) else 2
    grid = torch.cartesian_prod(*[eps] * (k * d)).reshape(-1, k, d)
    mass = torch.cartesian_prod(*[p] * (k * d)).reshape(-1, k * d).prod(-1)
    values = [
        (mass * (torch.logsumexp(program.log_weight(row, grid), 1) - math.log(k))).sum() for row in x[:, 0]
    ]
    return torch.stack(values).mean()


def gradient_of(value: Tensor, program: Program, names: Sequence[str]) -> Tensor:
    """The gradient of a number with respect to some parameters, as one vector in float64."""
    grads = torch.autograd.grad(value, [program.get_parameter(n) for n in names], retain_graph=True)
    return torch.cat([g.reshape(-1) for g in grads]).double()


def draws_of(
    program: Program, objective: Objective, x: Tensor, names: Sequence[str], batches: int, copies: int
) -> Tensor:
    """Gradients of −loss, one a batch of ``copies`` copies of x, shape (batches, P)."""
    loss = objective.players(program)[0].loss.to(program.dtype)
    rows = x.repeat(copies, 1)
    return torch.stack([gradient_of(-loss(rows), program, names) for _ in range(batches)])


def z_score(draws: Tensor, exact: Tensor) -> tuple[float, float]:
    """z of the mean along the exact gradient, and the standard error there relative to its length."""
    length = exact.norm()
    along = draws @ (exact / length)
    stderr = along.std() / math.sqrt(along.shape[0])
    return float((along.mean() - length) / stderr), float(stderr / length)


def quantile(batches: int) -> float:
    """Largest |z| of an unbiased estimator at α = 1e-6."""
    return float(stats.t.ppf(1 - ALPHA / 2, batches - 1))


def check_unbiased(draws: Tensor, exact: Tensor) -> None:
    """z-test at α = 1e-6 of a mean gradient, with power for a bias of 2 %, which the same draws × 1.02 show."""
    z, stderr = z_score(draws, exact)
    q = quantile(draws.shape[0])
    assert (q + 4.9) * stderr <= BIAS, f"no power: a relative standard error of {stderr:.5f}"
    assert abs(z) < q, f"biased: z = {z:.2f}"
    assert z_score((1 + BIAS) * draws, exact)[0] > q
