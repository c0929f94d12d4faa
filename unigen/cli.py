"""The command line: study, families, verify, and fit / sample / score for people with files.

Exit codes: 0 done; 1 a relation does not hold, or a study had a failing part; 2 bad input or usage.
"""

from __future__ import annotations

import functools
import json as jsonlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from unigen.errors import UnigenError

app = typer.Typer(
    name="unigen",
    help="Every generative model as a Pyro program: fit, sample, score, and show how the families relate.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
console = Console()
errors = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print machine-readable output.")]
Seed = Annotated[int, typer.Option(help="Seed of every random draw.")]


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a deliberate error into one line on standard error and exit code 2."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        try:
            command(*args, **kwargs)
        except UnigenError as error:
            if kwargs.get("json"):
                print(jsonlib.dumps({"error": type(error).__name__, "message": str(error)}))
            errors.print(f"[bold red]{type(error).__name__}[/]", end=" ")
            errors.print(str(error), markup=False)
            raise typer.Exit(2) from error

    return run


def _emit(payload: Any) -> None:  # noqa: ANN401
    print(jsonlib.dumps(payload, indent=2))


@app.command()
@_guarded
def study(
    data: Annotated[str, typer.Argument(help="Data set; 'digits' is bundled.")] = "digits",
    out: Annotated[Path, typer.Option(help="Folder for report.html and results.json.")] = Path("study"),
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the training: 90 seconds in all.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Fit every family to real data and write one report.

    Example: [bold]unigen study digits --out study --quick[/]
    """
    from unigen.study.run import run_study

    results = run_study(data, out, quick=quick, seed=seed, show=not json)
    if json:
        _emit(results)
    if not results["ok"]:
        raise typer.Exit(1)


@app.command()
@_guarded
def families(json: Json = False) -> None:
    """List the families and what each can answer.

    Example: [bold]unigen families --json[/]
    """
    from unigen.names import FAMILIES

    if json:
        _emit([{"name": name, "module": module, "is": what} for name, (module, what) in FAMILIES.items()])
        return
    table = Table(title="Families")
    for column in ("name", "what it is", "module"):
        table.add_column(column)
    for name, (module, what) in FAMILIES.items():
        table.add_row(name, what, module)
    console.print(table)


@app.command()
@_guarded
def verify(
    ids: Annotated[list[int] | None, typer.Argument(help="Numbers of relations; all if omitted.")] = None,
    json: Json = False,
) -> None:
    """Check the theorems that relate the families, each on its worked example.

    Example: [bold]unigen verify 1 16[/]
    """
    from unigen.relations.relation import all_relations, relation

    chosen = [relation(i) for i in ids] if ids else all_relations()
    found = []
    for each in chosen:
        if not json:
            errors.print(f"checking {each.id}. {each.name} …", style="dim")
        found.append(each.check())
    if json:
        _emit([_plain(evidence) for evidence in found])
    else:
        table = Table(title="Relations between the families")
        for column in ("id", "statement", "left", "right", "gap", "tolerance", "holds", "source"):
            table.add_column(column, overflow="fold")
        for e in found:
            verdict = "[green]yes[/]" if e.holds else "[bold red]NO[/]"
            numbers = (f"{e.left:.7g}", f"{e.right:.7g}", f"{e.gap:+.1e}", f"{e.tolerance:.1e}")
            table.add_row(str(e.id), e.statement, *numbers, verdict, e.source)
        console.print(table)
    if not all(evidence.holds for evidence in found):
        raise typer.Exit(1)


def _plain(evidence: Any) -> dict[str, Any]:  # noqa: ANN401
    names = ("id", "statement", "left", "right", "gap", "tolerance", "stderr", "holds", "source")
    return {name: getattr(evidence, name) for name in names}


def _options(pairs: list[str]) -> dict[str, Any]:
    from unigen.errors import ArgumentError

    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ArgumentError(site="--set", got=pair, expected="name=value", hint="--set hidden=[64,64]")
        try:
            options[name.replace("-", "_")] = jsonlib.loads(value)
        except jsonlib.JSONDecodeError:
            options[name.replace("-", "_")] = value
    return options


def _construct(family_name: str, features: int, options: dict[str, Any]) -> Any:  # noqa: ANN401
    import inspect

    from unigen.errors import ArgumentError
    from unigen.names import family

    kind = family(family_name)
    known = list(inspect.signature(kind.__init__).parameters)[1:]
    for name in options:
        if name not in known:
            raise ArgumentError(program=family_name, site=name, got="an unknown option", expected=", ".join(known))
    return kind(**{"features": features} | options)


@app.command()
@_guarded
def fit(
    family: Annotated[str, typer.Argument(help="Family; see `unigen families`.")],
    data: Annotated[Path, typer.Argument(help="Table of numbers: .npy, .npz, .csv, .tsv.")],
    out: Annotated[Path, typer.Option(help="Folder for the fitted program.")],
    set: Annotated[list[str] | None, typer.Option(help="Constructor option name=value (JSON).")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    validation: Annotated[float, typer.Option(help="Fraction of rows held out to choose the best step.")] = 0.1,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the whole step.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Fit a family to a table of numbers and keep the program in a folder.

    Example: [bold]unigen fit VAE data.csv --out run --set latents=8 --steps 2000[/]
    """
    import torch

    from unigen.checks import as_tensor
    from unigen.data.table import read_table
    from unigen.errors import ArgumentError
    from unigen.inference.fit import fit as fit_program
    from unigen.inference.persist import save

    if not 0.0 <= validation < 1.0:
        raise ArgumentError(site="validation", got=validation, expected="in [0, 1)")
    x = as_tensor(read_table(data), family).to(torch.get_default_dtype())
    x = x.reshape(x.shape[0], -1)
    options = _options(set or [])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        program = _construct(family, x.shape[1], options)
        order = torch.randperm(x.shape[0])
    held = int(validation * x.shape[0])
    rest = {"validation": x[order[:held]]} if held else {}
    out.mkdir(parents=True, exist_ok=True)
    record = fit_program(
        program, x[order[held:]], steps=steps, seed=seed, compile=compile,
        checkpoint=out / "run.safetensors", resume=resume, **rest,
    )  # fmt: skip
    save(program, out / "program.safetensors")
    summary = {"family": family, "formula": program.formula, "examples": x.shape[0], "features": x.shape[1]}
    summary |= {"steps": record.steps, "seconds": record.seconds, "stopped": record.stopped, "final": record.final}
    (out / "record.json").write_text(jsonlib.dumps(summary | {"history": record.history}, indent=2))
    if json:
        _emit(summary | {"out": str(out)})
        return
    console.print(repr(program), markup=False)
    console.print(repr(record), markup=False)
    console.print(f"kept in {out}: program.safetensors, record.json. Next: unigen sample {out} -n 100 --out x.npy")


def _load(run: Path) -> Any:  # noqa: ANN401
    from unigen.inference.persist import load

    return load(run / "program.safetensors" if run.is_dir() else run)


@app.command()
@_guarded
def sample(
    run: Annotated[Path, typer.Argument(help="Folder written by `unigen fit`, or a program file.")],
    out: Annotated[Path, typer.Option(help="File for the draws, .npy or .csv.")],
    n: Annotated[int, typer.Option("-n", help="Number of draws.")] = 100,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Draw from a fitted program.

    Example: [bold]unigen sample run -n 100 --out x.npy[/]
    """
    import numpy as np

    from unigen.errors import ArgumentError

    if out.suffix not in (".npy", ".csv"):
        raise ArgumentError(site="out", got=out.name, expected="a .npy or .csv file")
    x = _load(run).sample(n, seed=seed).cpu().numpy()
    if out.suffix == ".npy":
        np.save(out, x)
    else:
        np.savetxt(out, x.reshape(x.shape[0], -1), delimiter=",")
    if json:
        _emit({"out": str(out), "shape": list(x.shape)})
    else:
        console.print(f"{x.shape[0]} draws of shape {tuple(x.shape[1:])} in {out}")


@app.command()
@_guarded
def score(
    run: Annotated[Path, typer.Argument(help="Folder written by `unigen fit`, or a program file.")],
    data: Annotated[Path, typer.Argument(help="Table of numbers: .npy, .npz, .csv, .tsv.")],
    out: Annotated[Path | None, typer.Option(help="File for log p of each row, .npy or .csv.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Log-likelihood of data under a fitted program, and what kind of number it is.

    Example: [bold]unigen score run x.npy --json[/]
    """
    import numpy as np
    import torch

    from unigen.checks import as_tensor
    from unigen.data.table import read_table

    program = _load(run)
    x = as_tensor(read_table(data), program.name)
    x = x.to(program.dtype) if not program.structure.observed.discrete else x
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        scored = program.log_prob(x.reshape(x.shape[0], *program.event_shape) if x[:1].numel() == program.event_shape.numel() else x)
    if out is not None:
        values = scored.value.cpu().numpy()
        np.save(out, values) if out.suffix == ".npy" else np.savetxt(out, values, delimiter=",")
    mean = scored.mean()
    if json:
        _emit({"mean": mean.value, "stderr": mean.stderr, "kind": str(mean.kind), "unit": mean.unit, "n": mean.n})
    else:
        console.print(f"log p(x) = {mean}", markup=False)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    sys.exit(app())
