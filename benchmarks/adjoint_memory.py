"""Memory of a gradient by the adjoint method at 100, 1,000 and 10,000 steps: latent SDE (path KL) and neural ODE.

    python -m benchmarks.adjoint_memory --json

Each measurement is a process of its own: the growth of its peak resident memory while one loss is differentiated, and
the bytes that the backward pass keeps. Gradients through the solver's steps stand beside it at 100 and 1,000 steps.
What the adjoint keeps is the same at every number of steps; the peak grows by about a kilobyte a step, the times of
the steps themselves as tensors, whatever the batch and the network.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.crash import memory_mark, memory_peak
from unigen.dynamics.fixed_steps import FixedSteps
from unigen.dynamics.neural_ode import NeuralODE
from unigen.dynamics.path_kl import integrate_with_kl
from unigen.nn.autonomous import Autonomous
from unigen.nn.noise import ConstantNoise

BATCH, LATENTS, HIDDEN = 64, 4, (64,)
STEPS = (100, 1_000, 10_000)
CASES = [("sde", True, k) for k in STEPS] + [("ode", True, k) for k in STEPS]
CASES += [(kind, False, k) for kind in ("sde", "ode") for k in STEPS[:2]]
FLAT = 1.5  # at most this ratio of the kept bytes at 10,000 and at 100 steps counts as flat


def sde(steps: int, adjoint: bool) -> Callable[[], Tensor]:
    """Return the loss of a controlled SDE: its end and its path KL."""
    drift, control, noise = Autonomous(LATENTS, HIDDEN), Autonomous(LATENTS, HIDDEN), ConstantNoise(LATENTS)
    x = torch.randn(BATCH, LATENTS)
    wanted = [p for part in (drift, control, noise) for p in part.parameters()] if adjoint else None

    def loss() -> Tensor:
        path, kl = integrate_with_kl(
            lambda t, z: drift(z, t), lambda t, z: control(z, t), lambda t, z: noise(z, t), x,
            [i / steps for i in range(steps + 1)], (0, steps), adjoint=wanted,
        )  # fmt: skip
        return kl.mean() + path[-1].square().mean()

    return loss


def ode(steps: int, adjoint: bool) -> Callable[[], Tensor]:
    """Return the loss of a neural ODE: its end."""
    net: nn.Module = NeuralODE(Autonomous(LATENTS, HIDDEN), FixedSteps(steps, "midpoint", adjoint=adjoint))
    x = torch.randn(BATCH, LATENTS)
    return lambda: net(x).square().mean()


def measure(kind: str, adjoint: bool, steps: int) -> dict[str, float]:
    """Differentiate one loss in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    build = {"sde": sde, "ode": ode}[kind]
    build(2, adjoint)().backward()  # what is loaded and allocated once
    kept = [0]

    def keep(tensor: Tensor) -> Tensor:
        kept[0] += tensor.numel() * tensor.element_size()
        return tensor

    loss, before = build(steps, adjoint), memory_mark()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = loss()
    value.backward()
    return {"peak_growth_mb": (memory_peak() - before) / 2**20, "kept_kb": kept[0] / 2**10}


def main() -> int:
    """Measure all cases, each in a fresh process; fail if the adjoint's kept bytes grow with the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.case:
        kind, adjoint, steps = chosen.case
        print(json.dumps(measure(kind, adjoint == "True", int(steps))))
        return 0
    found: dict[str, dict[str, float]] = {}
    for kind, adjoint, steps in CASES:
        name = f"{kind}, {'adjoint' if adjoint else 'through the steps'}, {steps:,} steps"
        command = [
            sys.executable,
            "-m",
            "benchmarks.adjoint_memory",
            "--case",
            kind,
            str(adjoint),
            str(steps),
        ]
        found[name] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        if not chosen.json:
            peak, kept = found[name]["peak_growth_mb"], found[name]["kept_kb"]
            print(f"{name:40s} peak {peak:8.1f} MB   kept for the backward pass {kept:10.1f} kB", flush=True)
    met = all(
        found[f"{kind}, adjoint, 10,000 steps"]["kept_kb"]
        <= FLAT * found[f"{kind}, adjoint, 100 steps"]["kept_kb"]
        for kind in ("sde", "ode")
    )
    print(
        json.dumps({"benchmark": "adjoint_memory", "cases": found, "met": met})
        if chosen.json
        else f"flat: {met}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
