"""Langevin and Hamiltonian chains on a network energy: unigen beside a loop by hand, torchebm and plain Pyro.

    python -m benchmarks.energy --json

E = MLP(8 → 64 → 64 → 1) + ½ ‖x‖², 256 chains, one thread, eager everywhere. A call is 500 Langevin steps, or 1,000
Hamiltonian transitions of 10 leapfrog steps, of every chain; what is compared is CPU time a call, so steps a second are
its inverse. Pyro runs its chains one after the other: one is timed and multiplied. torchebm (optional:
``pip install --no-deps torchebm``) is left out where it is not installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from pyro.infer.mcmc import HMC as PyroHMC
from pyro.infer.mcmc import MCMC
from torch import Tensor, nn

import unigen as ug
from benchmarks.ratios import Ratio, Work, measure, options, report

FEATURES, CHAINS, STEPS, TRANSITIONS, LEAPS, STEP = 8, 256, 500, 1000, 10, 0.1


class Energy(nn.Module):
    """A network with a quadratic, in plain PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(FEATURES, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return E, (N,)."""
        return self.net(x).squeeze(-1) + 0.5 * x.square().sum(-1)


def gradient(energy: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return E and its gradient, by hand."""
    x = x.detach().requires_grad_(True)
    value = energy(x)
    return value.detach(), torch.autograd.grad(value.sum(), x)[0]


def langevin_by_hand(energy: nn.Module, x: Tensor) -> Tensor:
    """Run unadjusted Langevin chains as a tutorial would."""
    noise = (2 * STEP**2) ** 0.5
    for _ in range(STEPS):
        x = x - STEP**2 * gradient(energy, x)[1] + noise * torch.randn_like(x)
    return x.detach()


def hmc_by_hand(energy: nn.Module, x: Tensor) -> Tensor:
    """Run Hamiltonian chains as a tutorial would, gradients kept from step to step."""
    value, g = gradient(energy, x)
    for _ in range(TRANSITIONS):
        r = torch.randn_like(x)
        q, v, slope, start = x, value, g, value + 0.5 * r.square().sum(1)
        for _ in range(LEAPS):
            r = r - 0.5 * STEP * slope
            q = q + STEP * r
            v, slope = gradient(energy, q)
            r = r - 0.5 * STEP * slope
        accept = torch.rand_like(v).log() < start - v - 0.5 * r.square().sum(1)
        x, g = torch.where(accept[:, None], q, x), torch.where(accept[:, None], slope, g)
        value = torch.where(accept, v, value)
    return x


def pyro_hmc(energy: nn.Module, x: Tensor) -> Tensor:
    """Run one chain of Pyro's HMC from the first row of x."""
    kernel = PyroHMC(
        potential_fn=lambda at: energy(at["x"][None]).squeeze(0), step_size=STEP, num_steps=LEAPS,
        adapt_step_size=False, adapt_mass_matrix=False,
    )  # fmt: skip
    chain = MCMC(
        kernel, num_samples=TRANSITIONS, warmup_steps=0, initial_params={"x": x[0]}, disable_progbar=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chain.run()
    return chain.get_samples()["x"]


def torchebm_work(energy: Energy, x: Tensor) -> dict[str, Work]:
    """Return torchebm's two samplers at the same settings, if it is installed."""
    if importlib.util.find_spec("torchebm") is None:
        return {}
    core: Any = importlib.import_module("torchebm.core")
    samplers: Any = importlib.import_module("torchebm.samplers")

    class Wrapped(core.BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.energy = energy

        def forward(self, x: Tensor) -> Tensor:
            return self.energy(x)

    langevin = samplers.LangevinDynamics(Wrapped(), step_size=STEP**2)
    hmc = samplers.HamiltonianMonteCarlo(Wrapped(), step_size=STEP, n_leapfrog_steps=LEAPS)
    return {
        "langevin": lambda: langevin.sample(x=x.clone(), n_steps=STEPS),
        "hmc": lambda: hmc.sample(x=x.clone(), n_steps=TRANSITIONS),
    }


def run(rounds: int, calls: int) -> dict[str, dict[str, Ratio]]:
    """Return the ratios of both cases."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    energy, x = Energy(), torch.randn(CHAINS, FEATURES)
    program, other = ug.Potential(energy, FEATURES), torchebm_work(energy, x)
    langevin = ug.Langevin(STEPS, STEP**2, start=lambda n, context: x)

    engine = ug.HMC(CHAINS, TRANSITIONS, 0, compile=False, leaps=LEAPS)

    first: Mapping[str, Work] = {
        "by hand": lambda: langevin_by_hand(energy, x),
        "unigen, ug.Langevin": lambda: program.sample(CHAINS, sampler=langevin),
        **({"torchebm": other["langevin"]} if other else {}),
    }
    second: Mapping[str, Work] = {
        "by hand": lambda: hmc_by_hand(energy, x),
        "unigen, ug.HMC": lambda: ug.mcmc(program, engine=engine, starts=x, seed=0, progress=False),
        **({"torchebm": other["hmc"]} if other else {}),
        "Pyro, all chains": lambda: pyro_hmc(energy, x),
    }
    shared: dict[str, Any] = {"baseline": "by hand", "rounds": rounds, "calls": calls, "warm_up": 1}
    found = measure(second, bounds={"unigen, ug.HMC": 1.05}, **shared)
    one = found["Pyro, all chains"]
    found["Pyro, all chains"] = replace(
        one,
        ratio=CHAINS * one.ratio,
        low=CHAINS * one.low,
        high=CHAINS * one.high,
        seconds=CHAINS * one.seconds,
    )
    return {
        "500 Langevin steps": measure(first, bounds={"unigen, ug.Langevin": 1.05}, **shared),
        "1000 × 10 Hamiltonian steps": found,
    }


def main() -> int:
    """Measure and report."""
    chosen = options(__doc__)
    return report("chains on an energy", run(3 if chosen.quick else 9, 1), chosen.json)


if __name__ == "__main__":
    sys.exit(main())
