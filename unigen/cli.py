"""The command line: study, families, verify, and fit / sample / score for people with files.

Exit codes: 0 done; 1 a relation does not hold, or a study had a failing part; 2 bad input or usage.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from unigen import cli_files  # registers fit, sample and score
from unigen.cli_base import Json, Seed, app, console, emit, errors, guarded

__all__ = ["app", "cli_files", "main"]


@app.command()
@guarded
def study(
    data: Annotated[str, typer.Argument(help="Data set; 'digits' is bundled.")] = "digits",
    out: Annotated[Path, typer.Option(help="Folder for report.html and results.json.")] = Path("study"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A tenth of the training: three minutes in all.")
    ] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Fit every family to real data and write one report.

    Example: [bold]unigen study digits --out study --quick[/]
    """
    from unigen.study.run import run_study

    results = run_study(data, out, quick=quick, seed=seed, show=not json)
    if json:
        emit(results)
    if not results["ok"]:
        raise typer.Exit(1)


@app.command()
@guarded
def families(json: Json = False) -> None:
    """List the families and what each can answer.

    Example: [bold]unigen families --json[/]
    """
    from dataclasses import asdict

    from unigen.study.table import all_answers

    found = all_answers()
    if json:
        emit([asdict(each) for each in found])
        return
    table = Table(title="Families")
    for column in ("name", "what it is", "log_prob", "posterior", "fit minimises", "sample"):
        table.add_column(column, overflow="fold", no_wrap=column in ("name", "log_prob"))
    for each in found:
        back = "yes" if each.posterior else "–"
        table.add_row(each.name, each.what, each.log_prob, back, each.objective, each.sampler)
    console.print(table)


@app.command()
@guarded
def verify(
    ids: Annotated[list[int] | None, typer.Argument(help="Numbers of relations; all if omitted.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the atlas as a page: the map, every theorem, numbers, figures.")
    ] = None,
    json: Json = False,
) -> None:
    """Check the theorems that relate the families, each on its worked example.

    Example: [bold]unigen verify 1 16[/], [bold]unigen verify --html atlas.html[/]
    """
    from unigen.relations.page import check_target, write_page
    from unigen.relations.relation import all_relations, relation

    chosen = [relation(i) for i in ids] if ids else all_relations()
    if html is not None:
        check_target(html)
    found, drawn = _check(chosen, draws=html is not None, show=not json)
    if html is not None:
        write_page(drawn, html)
    if json:
        emit([_plain(evidence) for evidence in found])
    else:
        console.print(_table(found, [each.name for each in chosen], wide=console.width >= 150))
        if html is not None:
            console.print(f"the page is {html}", markup=False)
    if not all(evidence.holds for evidence in found):
        raise typer.Exit(1)


def _check(chosen: list[Any], *, draws: bool, show: bool) -> tuple[list[Any], list[Any]]:
    """Run the worked examples, with their figures for the page, and say on standard error which one is running."""
    from unigen.inference.progress import progress_bar
    from unigen.relations.page_sections import draw

    found, drawn = [], []
    with progress_bar(len(chosen), "verify", "auto" if show else False) as bar:
        for done, each in enumerate(chosen):
            if show and not sys.stderr.isatty():
                errors.print(f"checking {each.id}. {each.name} …", style="dim")
            bar(done, f"{each.id}. {each.name}")
            found.append(each.check())
            if draws:
                drawn.append(draw(each, found[-1]))
    return found, drawn


def _table(found: list[Any], names: list[str], *, wide: bool) -> Table:
    """Return the verdicts, one a line, each with its most strained claim; with statement and source where they fit."""
    table = Table(title="Relations between the families: of each its most strained claim")
    numbers = ("left", "right", "gap", "tolerance", "holds")
    for column in (
        "id",
        "relation",
        *(("statement",) if wide else ()),
        *numbers,
        *(("source",) if wide else ()),
    ):
        plain = column in ("statement", "relation", "source")
        table.add_column(column, overflow="fold", no_wrap=not plain, justify="left" if plain else "right")
    for e, name in zip(found, names, strict=True):
        verdict = "[green]yes[/]" if e.holds else "[bold red]NO[/]"
        row = (f"{e.left:.7g}", f"{e.right:.7g}", f"{e.gap:+.1e}", f"{e.tolerance:.1e}", verdict)
        table.add_row(
            str(e.id), name, *((e.statement,) if wide else ()), *row, *((e.source,) if wide else ())
        )
    return table


def _plain(evidence: Any) -> dict[str, Any]:
    names = ("id", "statement", "left", "right", "gap", "tolerance", "stderr", "holds", "source")
    return {name: getattr(evidence, name) for name in names}


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    sys.exit(app())
