"""Eight schools, non-centred: effective draws a CPU second, unigen's NUTS beside Pyro's, in one run.

    python -m benchmarks.nuts --json

μ ~ N(0, 5), τ ~ HalfCauchy(5), η_j ~ N(0, 1), y_j ~ N(μ + τ η_j, σ_j) (Rubin 1981). Effective draws are ArviZ's bulk
ESS, the smallest of the ten parameters. CPU seconds are those of the whole process, all threads, warm-up and
compilation included, which is cold and told apart. Pyro runs its chains one after the other in this process, with and
without its own just-in-time compilation, with its default settings. Means are compared with the reference draws of
posteriordb, whose Monte Carlo errors enter the z-values.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from unittest import mock

import arviz
import numpy as np
import pyro
import pyro.distributions as dist
import torch
import torch._inductor.config
from torch import Tensor

import unigen as ug
import unigen.inference.markov
from unigen.dynamics.tree import Kernels, Potential
from unigen.inference.kernels import tree_kernels

Y = torch.tensor([[28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]])
SIGMA = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
# posteriordb, eight_schools-eight_schools_noncentered, reference_posteriors/summary_statistics/mean: θ_1 … θ_8, μ, τ
MEAN = np.array([6.15050229, 4.93958114, 3.90590609, 4.79601675, 3.61443632, 4.05114758, 6.31716976, 4.88399694,
                 4.41051834, 3.60205952])  # fmt: skip
MCSE = np.array([0.05573753, 0.04622938, 0.05423137, 0.04749358, 0.04614506, 0.04851954, 0.04987668, 0.05425116,
                 0.03303747, 0.03186151])  # fmt: skip


class EightSchools(ug.Program):
    """One example: the eight estimated effects."""

    def __init__(self) -> None:
        super().__init__((8,))
        self.register_buffer("sigma", SIGMA)

    def model(self, x=None, n=1):
        """Declare p(x, μ, τ, η)."""
        mu = pyro.sample("mu", dist.Normal(0 * self.sigma[0], 5.0))
        tau = pyro.sample("tau", dist.HalfCauchy(5.0 + 0 * self.sigma[0]))
        eta = pyro.sample("eta", dist.Normal(torch.zeros_like(self.sigma), 1.0).to_event(1))
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(mu + tau * eta, self.sigma).to_event(1), obs=x)


Draws = dict[str, Tensor]


@dataclass(frozen=True)
class Row:
    """One contender.

    Args:
        name: Who.
        chains: Number of chains.
        ess: Smallest bulk ESS of the ten parameters.
        seconds: Of CPU, all threads.
        compiling: Of these, spent on compiling before the first transition; Pyro's tracing is not told apart.
        rate: Effective draws a CPU second.
        largest_z: Of the means against the reference.
        divergent: Divergent transitions after warm-up.
    """

    name: str
    chains: int
    ess: float
    seconds: float
    compiling: float
    rate: float
    largest_z: float
    divergent: int


def moments(draws: Draws) -> tuple[float, float]:
    """Return the smallest bulk ESS and the largest |z| of the means of θ, μ and τ."""
    theta = draws["mu"][..., None] + draws["tau"][..., None] * draws["eta"]
    basic = torch.cat([draws["eta"], draws["mu"][..., None], draws["tau"][..., None]], -1).double().numpy()
    ess = float(arviz.ess(arviz.convert_to_dataset({"q": basic}), method="bulk")["q"].min())
    means = torch.cat([theta, draws["mu"][..., None], draws["tau"][..., None]], -1).double().numpy()
    dataset = arviz.convert_to_dataset({"q": means})
    error = np.hypot(arviz.mcse(dataset)["q"].values, MCSE)
    return ess, float(np.abs((means.mean((0, 1)) - MEAN) / error).max())


def ours(chains: int, draws: int, warmup: int, seed: int) -> tuple[Draws, float, int]:
    """Run unigen's NUTS, compiled."""
    program, engine = EightSchools(), ug.NUTS(chains=chains, draws=draws, warmup=warmup, compile=True)
    spent: list[float] = []

    def timed(potential: Potential, like: Tensor, compile: bool) -> Kernels:
        start = time.process_time()
        kernels = tree_kernels(potential, like, compile)
        spent.append(time.process_time() - start)
        return kernels

    with (
        mock.patch.object(unigen.inference.markov, "tree_kernels", timed),
        torch._inductor.config.patch(force_disable_caches=True),  # as on the first run of a new model
    ):
        found = ug.infer(program, Y, engine=engine, seed=seed)
    return found.values, spent[0], int(found.statistics["diverging"].sum())


def theirs(chains: int, draws: int, warmup: int, seed: int, jit: bool) -> tuple[Draws, float, int]:
    """Run Pyro's NUTS on the same model."""
    program = EightSchools()
    pyro.set_rng_seed(seed)
    runs, divergent = [], 0
    for _ in range(chains):  # what its MCMC does for chains in one process
        kernel = pyro.infer.NUTS(lambda: program.model(Y), jit_compile=jit, ignore_jit_warnings=True)
        mcmc = pyro.infer.MCMC(kernel, num_samples=draws, warmup_steps=warmup, disable_progbar=True)
        mcmc.run()
        runs.append(mcmc.get_samples())
        divergent += len(mcmc.diagnostics()["divergences"]["chain 0"])
    return (
        {k: torch.stack([r[k].reshape(draws, *r[k].shape[1:]) for r in runs]) for k in runs[0]},
        0.0,
        divergent,
    )


def row(name: str, chains: int, work: Callable[[], tuple[Draws, float, int]]) -> Row:
    """Time one contender."""
    start = time.process_time()
    found, compiling, divergent = work()
    seconds = time.process_time() - start
    ess, z = moments(found)
    return Row(name, chains, ess, seconds, compiling, ess / seconds, z, divergent)


def main() -> None:
    parser = argparse.ArgumentParser(description="Effective draws a CPU second on eight schools.")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--warmup", type=int, default=1000)
    parser.add_argument("--pyro-chains", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    d, w, s, c = options.draws, options.warmup, options.seed, options.pyro_chains
    rows = [
        row("unigen", 4, lambda: ours(4, d, w, s)),
        row("unigen", 32, lambda: ours(32, d, w, s)),
        row("Pyro, jit", c, lambda: theirs(c, d, w, s, True)),
        row("Pyro", c, lambda: theirs(c, d, w, s, False)),
    ]
    if options.json:
        print(json.dumps([asdict(r) for r in rows], indent=1))
        return
    best = max(r.rate for r in rows if r.name.startswith("Pyro"))
    head = f"{'':10} {'chains':>6} {'ESS':>8} {'CPU s':>8} {'compiling':>9} {'ESS/s':>8} {'ratio':>7} {'max |z|':>8}"
    print(f"{head} divergent")
    for r in rows:
        print(
            f"{r.name:10} {r.chains:6} {r.ess:8.0f} {r.seconds:8.1f} {r.compiling:9.1f} {r.rate:8.1f} "
            f"{r.rate / best:7.1f} {r.largest_z:8.2f} {r.divergent:9}"
        )


if __name__ == "__main__":
    main()
