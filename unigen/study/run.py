"""run_study: every family on one data set, side by side, in two processes, into one report."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from rich.console import Console

from unigen.data.strict_json import to_json
from unigen.errors import ArgumentError, UnknownNameError
from unigen.inference.progress import progress_bar
from unigen.study.catalogue import MEASURED, entries
from unigen.study.report import write_report
from unigen.study.worker import fit_row, lost_measure, lost_row, measure, reference_row

DATA = ("digits",)


def _writable(out: Path) -> Path:
    try:
        (out / "programs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(
            f"cannot write to {out}: {error}", site="out", hint="--out another-folder"
        ) from error
    return out / "programs"


def _pool() -> ProcessPoolExecutor:
    workers = max(1, min(os.cpu_count() or 1, 8))
    context = multiprocessing.get_context("spawn")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return ProcessPoolExecutor(max_workers=workers, mp_context=context)


def run_study(
    name: str, out: str | Path, *, quick: bool = False, seed: int = 0, show: bool = True
) -> dict[str, Any]:
    """Fit every family to a data set and write ``report.html`` and ``results.json``.

    Args:
        name: The data set: ``digits``.
        out: Folder of the report; programs go to its subfolder ``programs``.
        quick: About a tenth of the training.
        seed: Of every random draw.
        show: Say what happens.

    Returns:
        The content of ``results.json``; ``ok`` is False if a row failed or a worked example did not hold.

    Raises:
        UnknownNameError: There is no such data set.
        ArgumentError: The folder cannot be written.
    """
    if name not in DATA:
        raise UnknownNameError("unknown data set", got=repr(name), expected=f"one of {', '.join(DATA)}")
    out = Path(out)
    programs, began = _writable(out), time.perf_counter()
    console = Console(stderr=True, quiet=not show)
    rows: dict[str, dict[str, Any]] = {}
    found: dict[int, dict[str, Any]] = {}
    titles = [each.name for each in entries()]
    order = [each.name for each in sorted(entries(), key=lambda each: -each.cost)]
    total = len(titles) + len(MEASURED) + 1
    with _pool() as pool, progress_bar(total, "study", "auto" if show else False) as bar:
        waiting: dict[Future[dict[str, Any]], tuple[str, Any]] = {
            pool.submit(fit_row, title, programs, quick, seed): ("row", title) for title in order
        }
        waiting[pool.submit(reference_row, seed)] = ("row", "Real images")
        open_relations = dict(MEASURED)
        while waiting:
            done = next(as_completed(waiting))
            kind, key = waiting.pop(done)
            result = _result(done, kind, key)
            if kind == "row":
                rows[key] = result
                console.print(_line(result), highlight=False, markup=False)
            else:
                found[key] = result
                console.print(f"  relation {key} measured on {', '.join(result['on'])}", markup=False)
            bar(len(rows) + len(found), key if kind == "row" else f"relation {key}")
            for number, needs in list(open_relations.items()):
                if all(each in rows for each in needs):
                    del open_relations[number]
                    waiting[_submit(pool, measure, number, needs, programs, seed)] = ("relation", number)
    results = {
        "data": name, "quick": quick, "seed": seed, "seconds": time.perf_counter() - began,
        "rows": [rows[title] for title in [*titles, "Real images"]],
        "relations": [found[number] for number in sorted(found)],
    }  # fmt: skip
    results["ok"] = _ok(results)
    (out / "results.json").write_text(to_json(results), encoding="utf-8")
    write_report(results, out)
    console.print(f"{out / 'report.html'}  ({results['seconds']:.0f} s)", markup=False)
    return results


def _submit(pool: Executor, work: Callable[..., Any], *arguments: Any) -> Future[dict[str, Any]]:
    """Hand work to the pool; if its processes died, the future says so as those of all the others do."""
    try:
        return pool.submit(work, *arguments)
    except BrokenProcessPool as error:
        lost: Future[dict[str, Any]] = Future()
        lost.set_exception(error)
        return lost


def _result(done: Future[dict[str, Any]], kind: str, key: Any) -> dict[str, Any]:
    """Return what a process found; where it died, the row says so, and the study goes on to its report."""
    try:
        return done.result()
    except BrokenProcessPool:
        return lost_row(key) if kind == "row" else lost_measure(key, dict(MEASURED)[key])


def _ok(results: dict[str, Any]) -> bool:
    rows = all(not row["error"] for row in results["rows"])
    return rows and all(each["example"]["holds"] and not each["error"] for each in results["relations"])


def _line(row: dict[str, Any]) -> str:
    if row["error"]:
        return f"  {row['name']}: FAILED, {row['error']}"
    if row["name"] == "Real images":
        return "  real images compared with themselves"
    number = row["kind"] if row["nats"] is None else f"{row['nats']:.2f} nats ({row['kind']})"
    return f"  {row['name']}: {number}, fitted in {row['fit_seconds']:.1f} s"


if __name__ == "__main__":
    sys.exit(0 if run_study("digits", "study")["ok"] else 1)
