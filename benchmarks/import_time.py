"""CPU time of ``import unigen`` beside ``import pyro``, each in a fresh process, interleaved.

python -m benchmarks.import_time --json
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys

TARGET = 1.15


def cpu_seconds(statement: str) -> float:
    """Return user and system time of a fresh interpreter that runs one statement."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(runs: int) -> dict[str, float]:
    """Return median CPU seconds of each import, and the median of the paired ratios."""
    used = "import unigen; unigen.VAE; unigen.fit"
    statements = {"pyro": "import pyro", "unigen": "import unigen", "unigen.fit": used}
    times: dict[str, list[float]] = {name: [] for name in statements}
    for run in range(runs + 1):
        for name, statement in statements.items():
            seconds = cpu_seconds(statement)
            if run:  # the first fills the disk cache
                times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name in ("unigen", "unigen.fit"):
        pairs = zip(times[name], times["pyro"], strict=True)
        medians[f"{name} / pyro"] = statistics.median(a / b for a, b in pairs)
    return medians


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    found = measure(options.runs) | {"target": TARGET}
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        print(f"{name:20s} {value:.3f}")


if __name__ == "__main__":
    main()
