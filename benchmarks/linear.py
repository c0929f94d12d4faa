"""PPCA of 100,000 × 500 numbers, 20 latents, beside scikit-learn's PCA: CPU time, memory, growth with N, a large file.

    python -m benchmarks.linear --json

Every contender gets the same float32 array on one thread. ``unigen.fit`` includes what scikit-learn's fit lacks: the
log-likelihood of all data; its parameters are those of a float64 eigendecomposition, the randomised PCA's an
approximation. Memory is the growth of the process's peak over what it held with the data loaded, so that 1 is the
data themselves. The last line fits a file on disk in a process whose private memory (RLIMIT_DATA) is limited to a
fraction of that file, after showing that the file cannot be loaded there. The memory figures need Linux.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.ratios import Ratio, measure, options, report

ROWS, FEATURES, LATENTS = 100_000, 500, 20
ALLOWANCE = 96 * 2**20  # bytes beyond what the process holds after its imports


@dataclass(frozen=True)
class Figure:
    """One number and the largest value wanted of it, or None."""

    value: float
    bound: float | None = None

    @property
    def met(self) -> bool:
        """Whether the bound is kept."""
        return self.bound is None or self.value <= self.bound


def write(path: Path, rows: int, piece: int = 50_000) -> None:
    """Write rows of a PPCA with σ = 1, a piece at a time, as raw float32."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((LATENTS, FEATURES), dtype=np.float32)
    with path.open("wb") as file:
        for start in range(0, rows, piece):
            n = min(piece, rows - start)
            z = rng.standard_normal((n, LATENTS), dtype=np.float32)
            (z @ weight + rng.standard_normal((n, FEATURES), dtype=np.float32) + 3).tofile(file)


def fit_unigen(x: np.ndarray) -> float:
    """Return the loss of PPCA in nats."""
    from unigen.inference.fit import fit
    from unigen.models.ppca import PPCA

    return fit(PPCA(FEATURES, LATENTS), x, device="cpu").history["closed form"][-1][1]


def fit_sklearn(x: np.ndarray, solver: str = "randomized") -> float:
    """Return scikit-learn's mean noise variance."""
    from sklearn.decomposition import PCA

    return float(PCA(LATENTS, svd_solver=solver, random_state=0).fit(x).noise_variance_)


def times(x: np.ndarray, rounds: int) -> dict[str, Ratio]:
    """CPU time of each fit relative to the randomised PCA's."""
    contenders: dict[str, Callable[[], object]] = {
        "scikit-learn, randomised": lambda: fit_sklearn(x),
        "scikit-learn, covariance in float32": lambda: fit_sklearn(x, "covariance_eigh"),
        "unigen.fit(PPCA)": lambda: fit_unigen(x),
    }
    return measure(
        contenders,
        baseline="scikit-learn, randomised",
        rounds=rounds,
        calls=1,
        bounds={"unigen.fit(PPCA)": 1.2},
        warm_up=1,
    )


def exponent(x: np.ndarray, rounds: int) -> Figure:
    """Slope of log CPU time against log N at N/4, N/2 and N."""
    sizes = [x.shape[0] // 4, x.shape[0] // 2, x.shape[0]]
    found = measure(
        {str(n): lambda n=n: fit_unigen(x[:n]) for n in sizes},
        baseline=str(sizes[-1]),
        rounds=rounds,
        calls=1,
    )
    seconds = [found[str(n)].seconds for n in sizes]
    return Figure(float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0]), 1.05)


# -- in processes of their own -----------------------------------------------------------------------------


def status(name: str) -> int:
    """Return a field of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def child_memory(path: Path, who: str) -> dict[str, float]:
    """Return the growth of the peak during a fit, and the peak of the whole process, over the size of the data."""
    work = fit_unigen if who == "unigen" else fit_sklearn
    work(np.random.default_rng(0).standard_normal((1000, FEATURES), dtype=np.float32))  # libraries, buffers
    x = np.fromfile(path, np.float32).reshape(-1, FEATURES)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = status("VmRSS")
    work(x)
    peak = status("VmHWM")
    return {"growth": (peak - before) / x.nbytes, "process": peak / x.nbytes, "data_MB": x.nbytes / 1e6}


def child_stream(path: Path) -> dict[str, float]:
    """Fit a file in less private memory than it has bytes; fail if it could be loaded after all."""
    x = np.memmap(path, np.float32, mode="r").reshape(-1, FEATURES)
    fit_unigen(np.random.default_rng(0).standard_normal((1000, FEATURES), dtype=np.float32))
    limit = status("VmData") + ALLOWANCE
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        np.array(x)
    except MemoryError:
        pass
    else:
        raise SystemExit("the file can be loaded: no test")
    before = resource.getrusage(resource.RUSAGE_SELF)
    loss = fit_unigen(x)
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"file_MB": x.nbytes / 1e6, "limit_MB": limit / 1e6, "loss": loss, "cpu_seconds": seconds}


def child(*arguments: str) -> dict[str, float]:
    """Run this file's part in a process of its own."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "benchmarks.linear", "--child", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | threads)
    return json.loads(done.stdout)


def figures(folder: Path, x: np.ndarray, rounds: int, large: int) -> dict[str, Figure]:
    """All that is not a ratio of times."""
    found = {"exponent of N": exponent(x, rounds)}
    for who, bound in (("unigen", 2.0), ("scikit-learn", None)):
        memory = child("memory", str(folder / "x"), who)
        found[f"{who}: data and growth of the peak / data"] = Figure(1 + memory["growth"], bound)
        found[f"{who}: peak of the whole process / data"] = Figure(memory["process"])
    write(folder / "large", large)
    stream = child("stream", str(folder / "large"))
    found["file: memory allowed / file"] = Figure(stream["limit_MB"] / stream["file_MB"], 1.0)
    found["file: GB"] = Figure(stream["file_MB"] / 1e3)
    found["file: CPU seconds a GB"] = Figure(stream["cpu_seconds"] / stream["file_MB"] * 1e3)
    entropy = 0.5 * FEATURES * math.log(2 * math.pi * math.e)  # the loss is at least that of the noise alone
    found["file: loss beyond the noise's, nats"] = Figure(stream["loss"] - entropy)
    return found


def table(found: dict[str, Figure]) -> None:
    """Print the figures."""
    from rich.console import Console
    from rich.table import Table

    printed = Table(title="linear: growth, memory, file")
    for heading in ("", "value", "bound"):
        printed.add_column(heading, justify="left" if not heading else "right")
    for name, figure in found.items():
        bound = "" if figure.bound is None else f"≤ {figure.bound:g} {'✓' if figure.met else '✗'}"
        printed.add_row(name, f"{figure.value:.2f}", bound)
    Console().print(printed)


def main() -> int:
    """Measure all."""
    if sys.argv[1:2] == ["--child"]:
        parser = argparse.ArgumentParser()
        parser.add_argument("--child", nargs="+")
        kind, path, *rest = parser.parse_args().child
        torch.set_num_threads(1)
        print(json.dumps(child_memory(Path(path), *rest) if kind == "memory" else child_stream(Path(path))))
        return 0
    chosen = options(__doc__)
    rounds = 3 if chosen.quick else 7
    with tempfile.TemporaryDirectory() as name:
        write(Path(name) / "x", ROWS)
        x = np.fromfile(Path(name) / "x", np.float32).reshape(-1, FEATURES)
        ratios = times(x, rounds)
        found = figures(Path(name), x, rounds, (3 if chosen.quick else 10) * ROWS)
    if chosen.json:
        rows = {name: asdict(r) | {"met": r.met} for name, r in ratios.items()}
        rest = {name: asdict(figure) | {"met": figure.met} for name, figure in found.items()}
        print(json.dumps({"benchmark": "linear", "times": rows, "figures": rest}, indent=2))
    else:
        report("linear", {f"{ROWS:,} × {FEATURES}, {LATENTS} latents": ratios}, False)
        table(found)
    return 0 if all(part.met for part in [*ratios.values(), *found.values()]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
