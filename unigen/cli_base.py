"""What all commands share: the app, the consoles, options, and one line for a deliberate error."""

from __future__ import annotations

import functools
import json as jsonlib
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console

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


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a deliberate error into one line on standard error and exit code 2."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except UnigenError as error:
            if kwargs.get("json"):
                print(jsonlib.dumps({"error": type(error).__name__, "message": str(error)}))
            errors.print(f"[bold red]{type(error).__name__}[/]", end=" ")
            errors.print(" ".join(str(error).split()), markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(2) from error

    return run


def emit(payload: Any) -> None:
    """Print plain data as JSON."""
    from unigen.data.strict_json import to_json

    print(to_json(payload))
