"""Every exact density of the library beside baselines that each must beat, in nats an example.

    python -m benchmarks.density                                    # toys and digits
    python -m benchmarks.density --only digits NSF MAF --json
    python -m benchmarks.density --only binarised-mnist --data-dir DATA --out OUT

Each program is fitted once on the training split, with the digits' recipes those of the study, and scored on the test
split. A row shows its mean log-likelihood ± the standard error over test examples, what it gains over the best
baseline (paired, so the error is smaller), epochs and seconds of training; for a toy also what is missing to the true
density. A model that does not beat the best baseline by two standard errors is marked.

Binarised MNIST (Larochelle's) is read from --data-dir, or downloaded to the user's cache; published there, −log p:
NADE 88.33 (Larochelle & Murray 2011); MADE 88.04 with 8,000 units and 32 orders (Germain et al. 2015).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

import unigen as ug
from benchmarks.density_sets import Model, Problem, Scores, problems
from unigen.logprob import Kind, LogProb
from unigen.objectives.likelihood import EM, ClosedForm
from unigen.program import Program
from unigen.units import log_mass


@dataclass
class Row:
    """One line of the table; nats are mean log-likelihood, differences are paired."""

    model: str
    nats: float
    stderr: float
    above: float | None = None
    above_stderr: float | None = None
    beats: bool | None = None
    missing: float | None = None
    epochs: float | None = None
    seconds: float | None = None
    parameters: int | None = None

    def __str__(self) -> str:
        def number(x: float | None, form: str) -> str:
            return "–" if x is None else format(x, form)

        gain = "–" if self.above is None else f"{self.above:+.3f} ± {self.above_stderr:.3f}"
        mark = "  does not beat the best baseline" if self.beats is False else ""
        return (
            f"{self.model:<44} {self.nats:>10.3f} ± {self.stderr:<6.3f} {gain:>18} {number(self.missing, '.3f'):>8} "
            f"{number(self.epochs, '.0f'):>7} {number(self.seconds, '.0f'):>8} {number(self.parameters, ','):>11}{mark}"
        )


HEADER = (
    f"{'model':<44} {'log p':>10} {'':8} {'above baselines':>18} {'missing':>8} {'epochs':>7} {'seconds':>8} "
    f"{'parameters':>11}"
)


def row_of(name: str, found: LogProb, baselines: Scores, truth: LogProb | None = None) -> Row:
    """Return a row; the baseline to beat is the one with the largest mean."""
    mean = found.mean()
    row = Row(name, mean.value, mean.stderr or 0.0)
    if truth is not None:
        row.missing = (truth - found).mean().value
    if name not in baselines:
        best = max(baselines.values(), key=lambda each: each.mean().value)
        paired = found.compare(best)
        row.above, row.above_stderr = paired.difference, paired.stderr
        row.beats = paired.difference > 2 * (paired.stderr or 0.0)
    return row


def on_unit_cube(found: LogProb, levels: int) -> LogProb:
    """Return the log density of y = (k + u) / L that is flat within bins, from the log mass of k."""
    return found - log_mass(0.0, found.dims or 1, levels)  # + D log L


def train(
    name: str, model: Model, problem: Problem, options: argparse.Namespace
) -> tuple[Program, dict[str, float]]:
    """Fit one model; return it and what its training took."""
    source = problem.source(model)
    torch.manual_seed(options.seed)
    program = model.build(source.dims)
    gradient = not isinstance(program.objective, (EM, ClosedForm))
    changed = dict(model.fit)
    if options.epochs is not None and gradient:
        changed = {k: v for k, v in changed.items() if k != "steps"} | {"epochs": options.epochs}
    if options.out is not None and name == "binarised-mnist":
        changed |= {"checkpoint": options.out / "mnist.ckpt", "resume": True}
    began = time.perf_counter()
    record = ug.fit(program, source, seed=options.seed, **changed)
    took = {
        "seconds": time.perf_counter() - began,
        "parameters": sum(p.numel() for p in program.parameters()),
    }
    if gradient:
        batch = changed.get("batch_size", program.recipe.batch_size)
        took["epochs"] = record.steps / math.ceil(source.train.shape[0] / batch)
    return program, took


def rows(name: str, problem: Problem, wanted: set[str], options: argparse.Namespace) -> Iterator[Row]:
    """Fit and score one data set's models, and yield the rows as they are done."""
    data = problem.data
    truth = None if problem.truth is None else LogProb(problem.truth(data.test.double()), Kind.EXACT)
    baselines = {title: fit(data.train).log_prob(data.test) for title, fit in problem.baselines.items()}
    if truth is not None:
        yield row_of("the true density", truth, baselines)
    for title, found in baselines.items():
        yield row_of(title, found, baselines, truth)
    for model in problem.models:
        if wanted and model.name not in wanted:
            continue
        program, took = train(name, model, problem, options)
        for title, found in model.score(program, model.name, problem.source(model).test).items():
            row = row_of(title, on_unit_cube(found, model.integers), baselines, truth)
            yield replace(row, **took)
        if options.out is not None and data.image_shape is not None:
            limits = (0.0, float(max(1, model.integers - 1)))
            figure = ug.plots.image_grid(program.sample(25, seed=options.seed), data.image_shape, 5, limits)
            title = model.name.replace(" ", "-").replace(",", "")
            figure.savefig(options.out / f"{name}-{title}.png", dpi=200)


def main() -> None:
    """Fit, score and print one table a data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", help="folder of data sets; the user's cache if omitted")
    parser.add_argument(
        "--only", nargs="*", default=[], help="data sets and models (all but MNIST if omitted)"
    )
    parser.add_argument("--epochs", type=int, help="instead of the recipes' numbers of steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for checkpoints, programs' draws")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    makers, found = problems(options.data_dir), {}
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    chosen = [name for name in makers if name in options.only] or [
        n for n in makers if n != "binarised-mnist"
    ]
    wanted = set(options.only) - makers.keys()
    for name in chosen:
        if not options.json:
            print(f"\n{name}\n{HEADER}", flush=True)
        found[name] = []
        for row in rows(name, makers[name](), wanted, options):
            found[name].append(asdict(row))
            if not options.json:
                print(row, flush=True)
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
