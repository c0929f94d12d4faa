"""A bar for draws that take long: shown once a second has gone by, on a terminal or when asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from unigen.errors import ArgumentError

Told = Callable[[int, int], None]  # (steps begun, steps)
Progress = Told | bool | str | None
PATIENCE = 1.0  # seconds before a bar appears


def rich_bar() -> Any:
    """Return an empty group of bars on standard error, as `fit` and samplers show them."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=5)


def check_progress(progress: Progress, program: str) -> Progress:
    """Return the option, if it is one.

    Raises:
        ArgumentError: It is no function, True, False, None or "auto".
    """
    if progress in ("auto", True, False, None) or callable(progress):
        return progress
    raise ArgumentError(
        program=program, site="progress", got=progress,
        expected='"auto", True, False, or a function (steps begun, steps)',
    )  # fmt: skip


@contextmanager
def telling(progress: Progress, title: str) -> Iterator[Told | None]:
    """Yield what a sampler calls at every step, or None where nobody listens.

    Args:
        progress: A function, called as it is; True: a bar; "auto": a bar if standard error is a terminal.
        title: Shown in front of the bar.
    """
    visible = sys.stderr.isatty() if progress == "auto" else bool(progress)
    if callable(progress) or not visible:
        yield progress if callable(progress) else None
        return
    bar = _Bar(title)
    try:
        yield bar
    finally:
        bar.close()


class _Bar:
    """A bar that appears when the first second is over."""

    def __init__(self, title: str) -> None:
        self._title, self._since, self._bars = title, time.monotonic(), None

    def __call__(self, done: int, steps: int) -> None:
        """Show that so many steps are begun."""
        if self._bars is None:
            if time.monotonic() - self._since < PATIENCE:
                return
            self._bars = rich_bar()
            self._bars.start()
            self._bars.add_task(self._title, total=steps, text="")
        self._bars.update(self._bars.task_ids[0], completed=done)

    def close(self) -> None:
        """Take the bar away."""
        if self._bars is not None:
            self._bars.stop()
