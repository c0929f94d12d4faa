"""Programs whose posteriors, evidences and predictive densities are known in closed form.

    Mean          μ ~ N(0, 2²),       x_i ~ N(μ, 1.5²)
    Coin          θ ~ Beta(2, 3),     x_i ~ Bernoulli(θ)
    Rate          λ ~ Gamma(2, 1),    x_i ~ Poisson(λ)
    Regression    w ~ N(0, I_3),      x_i ~ N(c_iᵀ w, ½²)

The guide of each is its posterior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

import unigen as ug


@dataclass(frozen=True)
class Exact:
    """What is known of one site.

    Args:
        site: Its name.
        mean: Posterior mean.
        sd: Posterior standard deviations.
        evidence: log p(x) of all data together, nats.
    """

    site: str
    mean: Tensor
    sd: Tensor
    evidence: float


class Mean(ug.Program):
    """μ ~ N(0, 2²), x_i ~ N(μ, 1.5²)."""

    def __init__(self) -> None:
        super().__init__((1,))
        self.register_buffer("zero", torch.zeros(1))

    def model(self, x=None, n=1):
        """Declare p(x, θ)."""
        mu = pyro.sample("mu", dist.Normal(self.zero, 2.0).to_event(1))
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(mu, 1.5).to_event(1), obs=x)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and variance."""
        variance = 1 / (1 / 4 + x.shape[0] / 2.25)
        return variance * x.sum(0) / 2.25, torch.full_like(x[0], variance)

    def guide(self, x):
        """Declare the posterior."""
        mean, variance = self.moments(x)
        pyro.sample("mu", dist.Normal(mean, variance.sqrt()).to_event(1))

    def exact(self, x: Tensor) -> Exact:
        """Closed forms."""
        mean, variance = self.moments(x)
        n = x.shape[0]
        joint = torch.distributions.MultivariateNormal(
            torch.zeros(n).to(x), 4.0 * torch.ones(n, n).to(x) + 2.25 * torch.eye(n).to(x)
        )
        return Exact("mu", mean, variance.sqrt(), float(joint.log_prob(x[:, 0])))


class Coin(ug.Program):
    """θ ~ Beta(2, 3), x_i ~ Bernoulli(θ)."""

    def __init__(self) -> None:
        super().__init__((1,))
        self.register_buffer("one", torch.ones(()))

    def model(self, x=None, n=1):
        """Declare p(x, θ)."""
        theta = pyro.sample("theta", dist.Beta(2 * self.one, 3 * self.one))
        with self.plate(x, n):
            return pyro.sample("x", dist.Bernoulli(theta.reshape(1)).to_event(1), obs=x)

    def guide(self, x):
        """Declare the posterior."""
        pyro.sample("theta", dist.Beta(2 + x.sum(), 3 + (1 - x).sum()))

    def exact(self, x: Tensor) -> Exact:
        """Closed forms."""
        a, b = float(2 + x.sum()), float(3 + (1 - x).sum())
        q = torch.distributions.Beta(torch.tensor(a).to(x), torch.tensor(b).to(x))

        def log_beta(p: float, r: float) -> float:
            return math.lgamma(p) + math.lgamma(r) - math.lgamma(p + r)

        return Exact("theta", q.mean, q.stddev, log_beta(a, b) - log_beta(2, 3))


class Rate(ug.Program):
    """λ ~ Gamma(2, 1), x_i ~ Poisson(λ)."""

    def __init__(self) -> None:
        super().__init__((1,))
        self.register_buffer("one", torch.ones(()))

    def model(self, x=None, n=1):
        """Declare p(x, θ)."""
        rate = pyro.sample("rate", dist.Gamma(2 * self.one, self.one))
        with self.plate(x, n):
            return pyro.sample("x", dist.Poisson(rate.reshape(1)).to_event(1), obs=x)

    def guide(self, x):
        """Declare the posterior."""
        pyro.sample("rate", dist.Gamma(2 + x.sum(), self.one + x.shape[0]))

    def exact(self, x: Tensor) -> Exact:
        """Closed forms."""
        a, b = float(2 + x.sum()), 1.0 + x.shape[0]
        q = torch.distributions.Gamma(torch.tensor(a).to(x), torch.tensor(b).to(x))
        evidence = math.lgamma(a) - math.lgamma(2) - a * math.log(b) - float(torch.lgamma(x + 1).sum())
        return Exact("rate", q.mean, q.stddev, evidence)


class Regression(ug.Program):
    """w ~ N(0, I_3), x_i ~ N(c_iᵀ w, ½²)."""

    def __init__(self) -> None:
        super().__init__((1,), context=3)
        self.register_buffer("zero", torch.zeros(3))

    def model(self, x=None, context=None, n=1):
        """Declare p(x, θ)."""
        w = pyro.sample("w", dist.Normal(self.zero, 1.0).to_event(1))
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal((context @ w)[..., None], 0.5).to_event(1), obs=x)

    def moments(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and covariance."""
        covariance = torch.linalg.inv(torch.eye(3).to(x) + 4 * context.T @ context)
        return 4 * covariance @ context.T @ x[:, 0], covariance

    def guide(self, x, context):
        """Declare the posterior."""
        pyro.sample("w", dist.MultivariateNormal(*self.moments(x, context)))

    def exact(self, x: Tensor, context: Tensor) -> Exact:
        """Closed forms."""
        mean, covariance = self.moments(x, context)
        n = x.shape[0]
        joint = torch.distributions.MultivariateNormal(
            torch.zeros(n).to(x), context @ context.T + 0.25 * torch.eye(n).to(x)
        )
        return Exact("w", mean, covariance.diagonal().sqrt(), float(joint.log_prob(x[:, 0])))


PROGRAMS = (Mean, Coin, Rate, Regression)


def contexts(program: ug.Program, n: int) -> Tensor | None:
    """Return covariates of n examples, two of them correlated, for a program that needs them."""
    if not program.context_features:
        return None
    t = torch.arange(n).to(program.dtype)
    first = torch.sin(t)
    return torch.stack([first, first + 0.5 * torch.cos(2 * t), torch.cos(3 * t)], 1)


def simulated(program: ug.Program, n: int) -> tuple[Tensor, ...]:
    """Return n examples under one draw of the parameters, and their covariates where there are some."""
    from unigen.traces import draw

    context = contexts(program, n)
    with torch.no_grad():
        x = draw(lambda: program.model(None, context, n))["x"]["value"]
    return (x,) if context is None else (x, context)
