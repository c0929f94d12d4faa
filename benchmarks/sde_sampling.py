"""Samplers of a diffusion: quality beside diffusers and azula, time beside loops by hand.

    python -m benchmarks.sde_sampling --out figures

Quality: sliced Wasserstein-2 distance and MMD of draws to a Gaussian mixture, with its exact score and with a small
trained network, at 10, 20, 50, 100 and 200 evaluations; every sampler has the same network, schedule and noise. The
row of exact draws is the floor of the two statistics. Peers need ``pip install diffusers azula``; what is absent is
named and left out. Time: CPU time of 200 steps relative to the loop by hand, at four sizes. ``--quick`` does less of
everything, ``--speed`` and ``--quality`` one part only.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table as Printed

import unigen as ug
from benchmarks.ratios import Ratio, measure, report
from benchmarks.sampler_peers import SCHEDULE, peers
from benchmarks.sampler_quality import ExactNoise, Mixture
from benchmarks.sampler_quality_run import Table, mean_and_error, qualities, verdicts
from benchmarks.sampler_speed import BOUND, PAIRS, SIZES, contenders
from unigen.dynamics.prediction import Eps
from unigen.models.diffusion import Diffusion

EVALUATIONS, TARGETS, SEEDS, DRAWS = (10, 20, 50, 100, 200), (10, 20, 50), 3, 3000


def trained(steps: int) -> Diffusion:
    """A small diffusion trained on draws of the mixture."""
    torch.manual_seed(0)
    x = Mixture().draw(20_000, torch.Generator().manual_seed(123)).float()
    program = Diffusion(2, hidden=64, blocks=2, schedule=SCHEDULE, prediction=Eps())
    ug.fit(program, x, steps=steps, seed=0, progress=False)
    return program.eval()


def show(title: str, table: Table, statistic: str) -> None:
    """Print one statistic of all samplers, mean ± standard error over seeds, in thousandths."""
    columns = list(next(iter(table.values())))
    printed = Printed(title=f"{title}: {statistic}, thousandths")
    printed.add_column("")
    for k in columns:
        printed.add_column(str(k), justify="right")
    for name, row in table.items():
        cells = [mean_and_error(getattr(row[k], statistic)) for k in columns]
        printed.add_row(name, *(f"{1e3 * mean:.0f} ± {1e3 * error:.0f}" for mean, error in cells))
    Console(width=140).print(printed)


def judge(table: Table) -> bool:
    """Print where ours is worse than a peer's same method by more than two standard errors and a tenth of the floor."""
    floor = mean_and_error(table["exact draws"][TARGETS[0]].sliced)[0]
    worse = [
        f"{pair} at {k}: {1e3 * gap:+.1f} ± {1e3 * error:.1f}"
        for pair, row in verdicts(table, TARGETS).items()
        for k, (gap, error) in row.items()
        if gap > 2.0 * error + 0.1 * floor
    ]
    print("worse than the same method of a peer: " + ("; ".join(worse) or "nowhere"))
    return not worse


def draw_figure(table: Table, path: Path) -> None:
    """Sliced W2 against evaluations, both logarithmic."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4), sharey=True)
    for axis, package in zip(axes, ("unigen", "diffusers", "azula"), strict=True):
        for name, row in table.items():
            if name.startswith(package):
                cells = [mean_and_error(quality.sliced) for quality in row.values()]
                means, errors = zip(*cells, strict=True)
                axis.errorbar(
                    list(row), means, errors, label=name.removeprefix(package), marker=".", linewidth=1
                )
        floor = [mean_and_error(quality.sliced)[0] for quality in table["exact draws"].values()]
        axis.plot(list(table["exact draws"]), floor, "k:", label="exact draws")
        axis.set(xscale="log", yscale="log", xlabel="evaluations of the network", title=package)
        axis.legend(fontsize=6)
    axes[0].set_ylabel("sliced Wasserstein-2 distance")
    figure.savefig(path, dpi=150, bbox_inches="tight")


def quality(quick: bool, out: Path | None) -> tuple[dict[str, Table], bool]:
    """Measure and print the quality with the exact score and with a trained network."""
    others, absent = peers()
    print("absent: " + (", ".join(absent) or "none"))
    tables, good = {}, True
    exact = Diffusion(2, network=ExactNoise(Mixture()), schedule=SCHEDULE, prediction=Eps())
    for title, program, evaluations in (
        ("exact score", exact, TARGETS if quick else EVALUATIONS),
        ("trained network", trained(200 if quick else 2000), TARGETS),
    ):
        tables[title] = qualities(program, others, evaluations, 2 if quick else SEEDS, DRAWS)
        for statistic in ("sliced", "mmd"):
            show(title, tables[title], statistic)
        good &= judge(tables[title])
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        draw_figure(tables["exact score"], out / "sde_sampling.png")
    return tables, good


def speed(quick: bool) -> dict[str, dict[str, Ratio]]:
    """Measure the time of every sampler at every size."""
    cases = {}
    for size, (batch, dims, rounds) in SIZES.items():
        for name in PAIRS:
            cases[f"{name}, {size}"] = measure(
                contenders(name, batch, dims), baseline="by hand", rounds=3 if quick else rounds, calls=1,
                bounds={"unigen": BOUND}, warm_up=1,
            )  # fmt: skip
    return cases


def main() -> int:
    """Measure and report; 1 when a bound is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for flag in ("json", "quick", "speed", "quality"):
        parser.add_argument(f"--{flag}", action="store_true")
    parser.add_argument("--out", type=Path, help="folder of the figure")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tables, good = quality(arguments.quick, arguments.out) if not arguments.speed else ({}, True)
    cases = speed(arguments.quick) if not arguments.quality else {}
    if arguments.json:
        rows = {
            t: {n: {k: asdict(q) for k, q in row.items()} for n, row in table.items()}
            for t, table in tables.items()
        }
        print(json.dumps({"quality": rows}))
    missed = report("200 steps", cases, arguments.json) if cases else 0
    return max(missed, 0 if good else 1)


if __name__ == "__main__":
    raise SystemExit(main())
