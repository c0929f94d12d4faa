"""Commands for people with files: fit, sample and score a table of numbers."""

from __future__ import annotations

import contextlib
import json as jsonlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from unigen.cli_base import Json, Seed, app, console, emit, guarded


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


def _construct(family_name: str, features: int, options: dict[str, Any]) -> Any:
    import inspect

    from unigen.errors import ArgumentError, UnigenError
    from unigen.names import did_you_mean, family

    kind = family(family_name)
    known = list(inspect.signature(kind.__init__).parameters)[1:]
    for name in options:
        if name not in known:
            raise ArgumentError(program=family_name, site=name, got="an unknown option",
                                expected=", ".join(known), hint=did_you_mean(name, known))  # fmt: skip
    if "features" not in known:
        hint = (
            "construct it in Python, fit it, and ug.save it; `unigen sample` and `unigen score` take the file"
        )
        raise ArgumentError("this family has no number of features", program=family_name, hint=hint)
    try:
        return kind(**{"features": features} | options)
    except UnigenError:
        raise
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise ArgumentError(
            f"no {family_name} with these options: {error}", site="--set", got=given
        ) from error


def _check_out(out: Path, *endings: str) -> None:
    """Refuse a file that cannot be written, before any work."""
    from unigen.errors import ArgumentError

    if out.suffix not in endings:
        raise ArgumentError(site="out", got=out.name, expected=f"a {' or '.join(endings)} file")
    if not out.parent.is_dir() or out.is_dir():
        raise ArgumentError(site="out", got=str(out), expected="a file in a folder that exists")


@contextlib.contextmanager
def _folder(out: Path) -> Iterator[None]:
    """Make the folder of a run; where the run is refused, leave none behind."""
    from unigen.errors import ArgumentError, UnigenError

    fresh = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(
            f"cannot write to {out}: {error.strerror}", site="out", hint="another folder"
        ) from error
    try:
        yield
    except UnigenError:
        if fresh and not any(out.iterdir()):
            out.rmdir()
        raise


def _held_out(program: Any, fraction: float, rows: int) -> int:
    """Return how many rows choose the best step: none in a game, which has no validation loss."""
    game = program.objective is not None and len(program.objective.players(program)) > 1
    return 0 if game else int(fraction * rows)


@app.command()
@guarded
def fit(
    family: Annotated[str, typer.Argument(help="Family; see `unigen families`.")],
    data: Annotated[Path, typer.Argument(help="Table of numbers: .npy, .npz, .csv, .tsv.")],
    out: Annotated[Path, typer.Option(help="Folder for the fitted program.")],
    set: Annotated[list[str] | None, typer.Option(help="Constructor option name=value (JSON).")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    validation: Annotated[
        float, typer.Option(help="Fraction of rows held out to choose the best step.")
    ] = 0.1,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the whole step.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the program that is in the folder.")
    ] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Fit a family to a table of numbers and keep the program in a folder.

    Example: [bold]unigen fit VAE data.csv --out run --set latents=8 --steps 2000[/]
    """
    import torch

    from unigen.checks import as_tensor
    from unigen.data.strict_json import to_json
    from unigen.data.table import read_table
    from unigen.errors import ArgumentError
    from unigen.inference.fit import fit as fit_program
    from unigen.inference.persist import save

    if not 0.0 <= validation < 1.0:
        raise ArgumentError(site="validation", got=validation, expected="in [0, 1)")
    if (out / "program.safetensors").exists() and not (resume or force):
        raise ArgumentError(
            f"{out} holds a program already", site="--out", hint="--force, --resume, or another folder"
        )
    x = as_tensor(read_table(data), family).to(torch.get_default_dtype())
    x = x.reshape(x.shape[0], -1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        program = _construct(family, x.shape[1], _options(set or []))
        order = torch.randperm(x.shape[0])
    held = _held_out(program, validation, x.shape[0])
    kept = x[order[:held]] if held else None
    program.check_batch(x)
    with _folder(out):
        record = fit_program(
            program, x[order[held:]], steps=steps, seed=seed, compile=compile,
            checkpoint=out / "run.safetensors", resume=resume, validation=kept,
        )  # fmt: skip
    save(program, out / "program.safetensors")
    summary = {"family": family, "formula": program.formula, "examples": x.shape[0], "features": x.shape[1]}
    summary |= {
        "steps": record.steps,
        "seconds": record.seconds,
        "stopped": record.stopped,
        "final": record.final,
    }
    (out / "record.json").write_text(to_json(summary | {"history": record.history}), encoding="utf-8")
    if json:
        emit(summary | {"out": str(out)})
        return
    console.print(repr(program), markup=False)
    console.print(repr(record), markup=False)
    console.print(
        f"kept in {out}: program.safetensors, record.json. Next: unigen sample {out} -n 100 --out x.npy"
    )


def _load(run: Path) -> Any:
    from unigen.inference.persist import load

    return load(run / "program.safetensors" if run.is_dir() else run)


@app.command()
@guarded
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

    _check_out(out, ".npy", ".csv")
    x = _load(run).sample(n, seed=seed).cpu().numpy()
    if out.suffix == ".npy":
        np.save(out, x)
    else:
        np.savetxt(out, x.reshape(x.shape[0], -1), delimiter=",")
    if json:
        emit({"out": str(out), "shape": list(x.shape)})
    else:
        console.print(f"{x.shape[0]} draws of shape {tuple(x.shape[1:])} in {out}")


@app.command()
@guarded
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

    if out is not None:
        _check_out(out, ".npy", ".csv")
    program = _load(run)
    x = as_tensor(read_table(data), program.name)
    x = x.to(program.dtype) if not program.structure.observed.discrete else x
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        scored = program.log_prob(
            x.reshape(x.shape[0], *program.event_shape) if x[:1].numel() == program.event_shape.numel() else x
        )
    if out is not None:
        values = scored.value.cpu().numpy()
        np.save(out, values) if out.suffix == ".npy" else np.savetxt(out, values, delimiter=",")
    mean = scored.mean()
    if json:
        emit(
            {
                "mean": mean.value,
                "stderr": mean.stderr,
                "kind": str(mean.kind),
                "unit": mean.unit,
                "n": mean.n,
            }
        )
    else:
        console.print(f"log p(x) = {mean}", markup=False)
