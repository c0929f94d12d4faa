"""Simulation-based calibration of the engines on four conjugate programs: 1,000 simulations × 99 draws each.

    python -m benchmarks.sbc --json

All simulated data sets of a cell are done side by side, one chain or fit for each. The exact guide is a multivariate
Gaussian fitted by the ELBO where the posterior is Gaussian, and the conjugate posterior elsewhere. The last column is
NUTS whose draws are drawn together to 0.8 of their spread: it must fail. A cell passes if no rank, of a component of θ
or of log p(x, θ), leaves a simultaneous ECDF band at 1 − 10⁻³ family-wise over its ranks.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace

import torch

import unigen as ug
from benchmarks.conjugate import PROGRAMS, Mean, Regression, contexts
from unigen.evaluate.calibration import Calibration, power, simulation_based_calibration
from unigen.inference.engine import Engine, Found
from unigen.inference.progress import Bar
from unigen.inference.unconstrained import Unconstrained

SIMULATIONS, DRAWS, SIZE, THIN, LEVEL = 1000, 99, 8, 4, 0.999


@dataclass(frozen=True)
class Narrowed(Engine):
    """Another engine, its draws drawn together around their mean on the reals.

    Args:
        engine: The right one.
        ratio: Of the standard deviations.
        draws: Of each chain.
    """

    engine: ug.NUTS
    ratio: float = 0.8
    draws: int = 1

    @property
    def rounds(self) -> int:
        """Transitions of a chain."""
        return self.engine.warmup + self.draws

    def run(self, space: Unconstrained, seed: int, bar: Bar) -> Found:
        """Return the engine's draws, too narrow."""
        found = replace(self.engine, draws=self.draws).run(space, seed, bar)
        centre = found.u.mean(1, keepdim=True)
        return Found(centre + self.ratio * (found.u - centre), found.statistics, found.step_size)


NUTS = ug.NUTS(warmup=200, doublings=6, compile=False)
HMC = ug.HMC(warmup=200, leaps=6, compile=False)
COLUMNS = ("NUTS", "HMC", "exact guide", "NUTS × 0.8")


def engine_of(column: str, program: ug.Program) -> tuple[Engine | None, int]:
    """Return the engine of a column and how its draws are thinned; None for the program's guide."""
    if column == "NUTS":
        return NUTS, THIN
    if column == "HMC":
        return HMC, THIN
    if column == "NUTS × 0.8":
        return Narrowed(NUTS), THIN
    if isinstance(program, (Mean, Regression)):
        return ug.Variational("multivariate", steps=400, lr=0.1, compile=False), 1
    return None, 1


@dataclass(frozen=True)
class Cell:
    """One cell of the table.

    Args:
        program: Family.
        engine: Column.
        p: Least p-value of a rank, times their number.
        passed: Whether all ranks stay in their bands.
        quantities: Number of ranks.
        seconds: Of CPU time.
    """

    program: str
    engine: str
    p: float
    passed: bool
    quantities: int
    seconds: float


def cell(
    family: type[ug.Program], column: str, simulations: int, draws: int, seed: int
) -> tuple[Cell, Calibration]:
    """Calibrate one engine on one program."""
    program = family().double()
    engine, thin = engine_of(column, program)
    start = time.process_time()
    found = simulation_based_calibration(
        program, engine, simulations=simulations, draws=draws, thin=thin, size=SIZE, level=LEVEL, seed=seed,
        context=contexts(program, SIZE),
    )  # fmt: skip
    p = min(1.0, min(found.p_values.values()) * len(found.ranks))
    seconds = time.process_time() - start
    return Cell(family.__name__, column, p, found.passed, len(found.ranks), seconds), found


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulation-based calibration of the engines.")
    parser.add_argument("--simulations", type=int, default=SIMULATIONS)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cells = []
    for family in PROGRAMS:
        for i, column in enumerate(COLUMNS):
            one, _ = cell(family, column, options.simulations, options.draws, options.seed + i)
            cells.append(one)
            if not options.json:
                verdict = "in the band" if one.passed else "outside"
                print(
                    f"{one.program:12} {one.engine:12} p = {one.p:8.2g}  {verdict:12} {one.seconds:6.1f} s",
                    flush=True,
                )
    if options.json:
        print(json.dumps([asdict(c) for c in cells], indent=1))
        return
    found = {s: power(options.simulations, options.draws, sd_ratio=s, level=LEVEL) for s in (0.95, 0.9)}
    print(f"power of one rank against draws too narrow: {found}")


if __name__ == "__main__":
    main()
