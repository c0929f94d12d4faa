"""Progress bars: loss, rate and time left on a terminal; silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from unigen.samplers.progress import rich_bar


class Bar(Protocol):
    """What a loop needs of a progress bar."""

    def __call__(self, done: int, text: str = "") -> None:
        """Show that ``done`` units are done, with a text beside it."""


@contextmanager
def progress_bar(total: int, title: str, show: bool | str = "auto") -> Iterator[Bar]:
    """Yield a function (done, text) that moves a bar.

    Args:
        total: Units of work.
        title: Shown in front.
        show: True, False, or "auto": only when standard error is a terminal.
    """
    visible = sys.stderr.isatty() if show == "auto" else bool(show)
    if not visible or total < 2:
        yield lambda done, text="": None
        return
    with rich_bar() as bars:
        task = bars.add_task(title, total=total, text="")

        def move(done: int, text: str = "") -> None:
            rate = bars.tasks[0].speed
            speed = "" if rate is None else f"  {rate:.0f}/s"
            bars.update(task, completed=done, text=text + speed)

        yield move
