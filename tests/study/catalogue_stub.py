"""A small study for tests: two cheap rows, a failing row, and a pool that runs in this process."""

from __future__ import annotations

from concurrent.futures import Future

import unigen as ug
from unigen.study import catalogue
from unigen.study.catalogue import Entry


class HerePool:
    """Runs what is submitted at once, in this process."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def submit(self, function, *arguments):
        future: Future = Future()
        future.set_result(function(*arguments))
        return future


def broken(_: int):
    raise RuntimeError("a <broken> row")


def small(monkeypatch, *, fails: bool = False, measured: tuple = ()) -> None:
    """Replace the catalogue by PPCA and a GAN (and a row that fails)."""
    rows = [
        Entry("PPCA", lambda d: ug.PPCA(d, latents=4)),
        Entry("GAN & co", lambda d: ug.GAN(d, hidden=(4,)), 2.0, {}, 2, note="no <density>"),
    ]
    rows += [Entry("Broken", broken)] if fails else []
    from unigen.study import run

    monkeypatch.setattr(catalogue, "entries", lambda: rows)
    monkeypatch.setattr(run, "entries", lambda: rows)
    monkeypatch.setattr(run, "MEASURED", measured)
    monkeypatch.setattr(run, "_pool", HerePool)
