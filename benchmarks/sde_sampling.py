"""Sampling by a reverse SDE beside a hand-written Euler-Maruyama loop and torchsde as it comes.

    python -m benchmarks.sde_sampling --json

Two hundred Euler steps of the reversed VP SDE (beta .1 -> 20) with a score network of width 128, on one thread: unigen
beside the Euler-Maruyama loop one would write by hand, and torchsde as its documentation says.
"""

from __future__ import annotations

import functools
import math

import torch
import torchsde
from torch import Tensor, nn

from benchmarks.ratios import measure, options, report
from unigen.dynamics.schedule import VPLinear
from unigen.dynamics.sde import ForwardSDE, ReverseSDE
from unigen.dynamics.solvers import integrate_sde

STEPS, WIDTH = 200, 128
CASES = {"batch 64, 2 dimensions": (64, 2, 1.4, 60), "batch 1024, 64 dimensions": (1024, 64, 1.1, 15)}


class ScoreNetwork(nn.Module):
    """A plain MLP of (x, t) with two hidden layers."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dims + 1, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, dims)
        )

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Score, (N, D)."""
        return self.layers(torch.cat([x, t.expand(x.shape[0], 1)], dim=1))


@torch.no_grad()
def by_hand(network: ScoreNetwork, x: Tensor) -> Tensor:
    """The loop one would write for this one SDE."""
    dt = 1.0 / STEPS
    for k in range(STEPS):
        t = 1.0 - k * dt
        beta = 0.1 + t * 19.9
        score = network(torch.tensor(t), x)
        x = x + (0.5 * beta * x + beta * score) * dt + math.sqrt(beta * dt) * torch.randn_like(x)
    return x


@torch.no_grad()
def with_unigen(network: ScoreNetwork, x: Tensor) -> Tensor:
    """The same draw through schedule, dynamics and solver."""
    times = torch.linspace(1.0, 0.0, STEPS + 1)
    reverse = ReverseSDE(ForwardSDE(VPLinear()).on_grid(times), network)
    return integrate_sde(reverse.drift, reverse.diffusion, x, times)


class _PlainSDE:
    """What torchsde's documentation tells its users to write."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, network: ScoreNetwork) -> None:
        self.network = network

    def f(self, s: Tensor, x: Tensor) -> Tensor:
        """Drift in reversed time s = 1 − t."""
        t = 1.0 - s
        beta = 0.1 + t * 19.9
        return 0.5 * beta * x + beta * self.network(t, x)

    def g(self, s: Tensor, x: Tensor) -> Tensor:
        """Diffusion."""
        return torch.sqrt(0.1 + (1.0 - s) * 19.9).expand_as(x)


@torch.no_grad()
def with_torchsde(network: ScoreNetwork, x: Tensor) -> Tensor:
    """torchsde with its default Brownian motion."""
    ends = torch.tensor([0.0, 1.0])
    return torchsde.sdeint(_PlainSDE(network), x, ends, dt=1.0 / STEPS, method="euler")[-1]


def main() -> int:
    """Measure all cases and report; 1 when a bound is missed."""
    arguments = options(__doc__)
    cases = {}
    for name, (batch, dims, bound, rounds) in CASES.items():
        torch.manual_seed(0)
        network, x = ScoreNetwork(dims), torch.randn(batch, dims)
        contenders = {
            "by hand": functools.partial(by_hand, network, x),
            "unigen": functools.partial(with_unigen, network, x),
            "torchsde": functools.partial(with_torchsde, network, x),
        }
        rounds = max(3, rounds // 5) if arguments.quick else rounds
        bounds = {"unigen": bound}
        cases[name] = measure(
            contenders, baseline="by hand", rounds=rounds, calls=1, bounds=bounds, warm_up=2
        )
    return report("reverse SDE, 200 Euler steps", cases, arguments.json)


if __name__ == "__main__":
    raise SystemExit(main())
