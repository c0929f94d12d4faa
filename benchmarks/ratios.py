"""Ratios of CPU time: contenders take turns on one thread, and are compared within each round.

The machine may be busy and its clock may change from minute to minute. So a contender's ratio is the median over
rounds of (its CPU time / the baseline's CPU time in the same round), with the quartiles beside it.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch

Work = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """One contender's CPU time relative to the baseline's.

    Args:
        ratio: Median over rounds.
        low: First quartile.
        high: Third quartile.
        seconds: Median CPU seconds a call.
        bound: Largest ratio wanted, or None.
    """

    ratio: float
    low: float
    high: float
    seconds: float
    bound: float | None = None

    @property
    def met(self) -> bool:
        """Whether the bound is kept."""
        return self.bound is None or self.ratio <= self.bound


def measure(
    contenders: Mapping[str, Work],
    *,
    baseline: str,
    rounds: int,
    calls: int,
    bounds: Mapping[str, float] | None = None,
    warm_up: int = 5,
) -> dict[str, Ratio]:
    """Time contenders in turn.

    Args:
        contenders: What to time, by name.
        baseline: Name of the one the others are divided by.
        rounds: Turns each takes.
        calls: Calls a turn.
        bounds: Largest ratio wanted of some contenders.
        warm_up: Untimed calls of each beforehand.
    """
    torch.set_num_threads(1)
    for work in contenders.values():
        for _ in range(warm_up):
            work()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, work in contenders.items():
                start = time.process_time()
                for _ in range(calls):
                    work()
                seconds[name].append((time.process_time() - start) / calls)
    finally:
        gc.enable()
    result = {}
    for name, own in seconds.items():
        ratios = [a / b for a, b in zip(own, seconds[baseline], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4) if rounds > 1 else ratios * 3
        result[name] = Ratio(middle, low, high, statistics.median(own), (bounds or {}).get(name))
    return result


def options(description: str | None, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read ``--json`` and ``--quick``."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    return parser.parse_args(arguments)


def report(title: str, cases: Mapping[str, Mapping[str, Ratio]], as_json: bool) -> int:
    """Print all cases, as a table or as JSON; return 1 if a bound is missed, else 0."""
    if as_json:
        rows = {
            case: {name: asdict(r) | {"met": r.met} for name, r in row.items()} for case, row in cases.items()
        }
        print(
            json.dumps(
                {"benchmark": title, "torch": torch.__version__, "threads": 1, "cases": rows}, indent=2
            )
        )
    else:
        from rich.console import Console
        from rich.table import Table

        for case, row in cases.items():
            table = Table(title=f"{title}: {case}")
            for heading in ("", "ratio", "quartiles", "CPU time a call", "bound"):
                table.add_column(heading, justify="left" if not heading else "right")
            for name, r in row.items():
                bound = "" if r.bound is None else f"≤ {r.bound:g} {'✓' if r.met else '✗'}"
                quartiles = f"{r.low:.2f} – {r.high:.2f}"
                table.add_row(name, f"{r.ratio:.2f}", quartiles, f"{1e6 * r.seconds:.0f} µs", bound)
            Console().print(table)
    return 0 if all(r.met for row in cases.values() for r in row.values()) else 1
