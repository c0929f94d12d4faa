"""Sampling by a reverse SDE beside a hand-written Euler-Maruyama loop and torchsde as it comes.

    python -m benchmarks.sde_sampling --json

Two hundred Euler steps of the reversed VP SDE (beta .1 -> 20) with a score network of width 128, on one thread. Each
contender draws in turn, round after round; the ratio is the median over rounds of one contender's CPU time divided by
the hand-written loop's in the same round.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable

import torch
import torchsde
from torch import Tensor, nn

from unigen.dynamics.schedule import VPLinear
from unigen.dynamics.sde import ForwardSDE, ReverseSDE
from unigen.dynamics.solvers import integrate_sde

STEPS, WIDTH = 200, 128
CASES = {"64x2": (64, 2, 1.4, 60), "1024x64": (1024, 64, 1.1, 14)}  # batch, dimensions, bound, rounds


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


def cpu_time(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(batch: int, dims: int, rounds: int) -> dict[str, float]:
    """Median CPU seconds a draw of the hand-written loop, and the others' ratios to it."""
    torch.manual_seed(0)
    network, x = ScoreNetwork(dims), torch.randn(batch, dims)
    contenders = {"by hand": by_hand, "unigen": with_unigen, "torchsde": with_torchsde}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(rounds + 2):  # two to warm up
        for name, draw in contenders.items():
            seconds = cpu_time(lambda draw=draw: draw(network, x))
            if round_ >= 2:
                times[name].append(seconds)
    result = {"seconds by hand": statistics.median(times["by hand"])}
    for name in ("unigen", "torchsde"):
        pairs = zip(times[name], times["by hand"], strict=True)
        result[name] = statistics.median(ours / theirs for ours, theirs in pairs)
    return result


def main() -> None:
    """Print one line a case, or JSON; exit with 1 when a bound is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="a fifth of the rounds")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name, (batch, dims, bound, rounds) in CASES.items():
        results[name] = measure(batch, dims, max(3, rounds // 5) if arguments.quick else rounds)
        results[name]["bound"] = bound
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        for name, row in results.items():
            print(
                f"{name}: unigen {row['unigen']:.2f} (bound {row['bound']}), torchsde {row['torchsde']:.2f}"
            )
    raise SystemExit(0 if all(row["unigen"] <= row["bound"] for row in results.values()) else 1)


if __name__ == "__main__":
    main()
