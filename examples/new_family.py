"""A family from outside the package: independent exponentials, with a closed form and the laws.

x_i ~ Exponential(rate_i),   maximum likelihood: rate_i = 1 / mean x_i
"""

from __future__ import annotations

import argparse

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

import unigen as ug


class Exponentials(ug.Program):
    """p(x) = Π rate_i exp(−rate_i x_i): a model, its marginal, and its closed form."""

    def __init__(self, features: int) -> None:
        super().__init__((features,), objective=ug.ClosedForm())
        self.log_rate = torch.nn.Parameter(torch.zeros(features))

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x)."""
        with self.plate(x, n):
            return pyro.sample("x", dist.Exponential(self.log_rate.exp()).to_event(1), obs=x)

    def solve(self, x: Tensor) -> None:
        """Write the maximum-likelihood rates."""
        self.log_rate.copy_(-x.mean(0).log())


def main() -> None:
    """Fit in closed form and by gradient, and run the laws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    x = dist.Exponential(torch.tensor([0.5, 3.0])).sample((1000,))
    exact, trained = Exponentials(2), Exponentials(2)
    print(ug.fit(exact, x))
    print(ug.fit(trained, x, objective=ug.MaximumLikelihood(), steps=steps, lr=1e-2, seed=0))
    print("rates", exact.log_rate.exp().tolist(), trained.log_rate.exp().tolist())
    print(exact.log_prob(x).compare(trained.log_prob(x)))
    print(ug.check_program(exact, x))


if __name__ == "__main__":
    main()
