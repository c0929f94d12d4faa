"""Declare a model, fit it, and ask it everything: a Gaussian latent seen through a curve.

z ~ N(0, 1),   x | z ~ N((z, z²), 0.2²)
"""

from __future__ import annotations

import argparse

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

import unigen as ug


class Parabola(ug.Program):
    """Two unknown numbers: the curvature and the noise."""

    def __init__(self) -> None:
        super().__init__((2,))
        self.curvature = torch.nn.Parameter(torch.zeros(1))
        self.log_noise = torch.nn.Parameter(torch.zeros(1))

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z); the guide is made for us."""
        with self.plate(x, n):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            loc = torch.cat([z, self.curvature * z.square()], -1)
            return pyro.sample("x", dist.Normal(loc, self.log_noise.exp()).to_event(1), obs=x)


def main() -> None:
    """Fit to draws from the truth, and compare with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    z = torch.randn(2000, 1)
    x = torch.cat([z, z.square()], -1) + 0.2 * torch.randn(2000, 2)

    program = Parabola()
    print(program)
    print(ug.fit(program, x, steps=steps, lr=5e-3, objective=ug.IWAE(10), seed=0))
    print(
        f"curvature {program.curvature.item():.3f} (truth 1), noise {program.log_noise.exp().item():.3f} (truth 0.2)"
    )
    print("log p(x):", program.log_prob(x[:200]).mean())
    print("z given x = (1, 1):", program.encode(torch.ones(1, 2)).item())
    print("score at (1, 0), towards the curve:", program.score(torch.tensor([[1.0, 0.0]])).tolist())


if __name__ == "__main__":
    main()
