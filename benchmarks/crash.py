"""Checkpoints under kill -9 and under flipped bits, beside torch.save and plain safetensors.

    python -m benchmarks.crash --json

Kills: a process saves a growing generation in a loop and is killed at a random instant. The file must then load, be
whole, and hold the last generation reported as saved or the one after it; and after the next save nothing else may lie
in the folder. Half the kills are in a temporary folder, half in one on another file system where there is one.

Flips: one random bit of the file is changed, half of the time in the header; reading must fail. A load that succeeds
with other contents is a silent wrong load. Upper bounds are 95 % Clopper-Pearson: 1 - 0.05 ** (1 / n) for no failure.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from unigen.errors import CheckpointError
from unigen.inference.checkpoint import read_checkpoint, write_checkpoint

Save = Callable[[Path, dict[str, Tensor]], object]
Load = Callable[[Path], dict[str, Tensor]]


def unigen_save(path: Path, tensors: dict[str, Tensor]) -> None:
    write_checkpoint(path, tensors, {"note": "a benchmark", "history": [0.5, float("inf"), 1e-3]})


def unigen_load(path: Path) -> dict[str, Tensor]:
    return read_checkpoint(path).tensors


def torch_save(path: Path, tensors: dict[str, Tensor]) -> None:
    torch.save(tensors, path)


def torch_load(path: Path) -> dict[str, Tensor]:
    return torch.load(path, weights_only=True)


def safetensors_save(path: Path, tensors: dict[str, Tensor]) -> None:
    safetensors.torch.save_file(tensors, path)


def safetensors_load(path: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(path)


PEERS: dict[str, tuple[Save, Load]] = {
    "unigen": (unigen_save, unigen_load),
    "torch.save": (torch_save, torch_load),
    "safetensors": (safetensors_save, safetensors_load),
}


def generation_contents(generation: int, size: int) -> dict[str, Tensor]:
    """Return tensors that all tell the generation, so that a mixture of two is seen."""
    return {
        "weights": torch.full((size,), float(generation)),
        "generation": torch.tensor(generation),
        "tail": torch.full((1 + generation % 7, 3), generation, dtype=torch.int32),
    }


def whole_generation(tensors: dict[str, Tensor], size: int) -> int:
    """Return the generation of a loaded checkpoint, or -1 if it is not one."""
    generation = int(tensors["generation"])
    expected = generation_contents(generation, size)
    return generation if same(tensors, expected) else -1


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Whether two sets of tensors agree in names, types, shapes and every bit."""
    return left.keys() == right.keys() and all(
        left[k].dtype == right[k].dtype
        and left[k].shape == right[k].shape
        and _octets(left[k]) == _octets(right[k])
        for k in left
    )


def _octets(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def save_for_ever(peer: str, path: Path, size: int, saved: Any) -> None:
    """Save one generation after another, and tell the last complete one; runs in the process to be killed."""
    save, weights = PEERS[peer][0], torch.empty(size)
    while True:
        generation = saved.value + 1
        save(path, generation_contents(generation, 0) | {"weights": weights.fill_(float(generation))})
        saved.value = generation


def save_and_die(path: Path, generation: int, module: str, function: str, calls: int) -> None:
    """Save, and be killed when ``module.function`` returns for the ``calls``-th time."""
    holder, done = importlib.import_module(module), []
    original = getattr(holder, function)

    def deadly(*args: Any, **options: Any) -> Any:
        result = original(*args, **options)
        done.append(function)
        if len(done) == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(holder, function, deadly)
    unigen_save(path, generation_contents(generation, 1000))


class Killer:
    """Starts processes that save in a loop and kills them."""

    def __init__(self, peer: str = "unigen", size: int = 1_000_000) -> None:
        self.peer, self.size = peer, size
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["torch", "unigen.inference.checkpoint"])

    def run(self, function: Callable[..., None], *args: Any) -> int:
        """Run a function in a process of its own and return its exit code."""
        process = self.context.Process(target=function, args=args, daemon=True)
        process.start()
        process.join(60)
        return -1 if process.exitcode is None else process.exitcode

    def kill_once(self, path: Path, instant: float) -> dict[str, Any]:
        """Kill a saving process ``instant`` (0 to 1) of two saves after its second; say what it left."""
        saved = self.context.RawValue(ctypes.c_int64, 0)
        process = self.context.Process(
            target=save_for_ever, args=(self.peer, path, self.size, saved), daemon=True
        )
        process.start()
        first = self._wait(process, saved, 1)
        duration = self._wait(process, saved, 2) - first
        time.sleep(2 * duration * instant)
        process.kill()
        process.join()
        others = [entry.name for entry in path.parent.iterdir() if entry.name != path.name]
        try:
            generation = whole_generation(PEERS[self.peer][1](path), self.size)
        except Exception as error:
            return {"loads": False, "error": f"{type(error).__name__}: {error}", "left": len(others)}
        good = generation in (saved.value, saved.value + 1)
        return {"loads": good, "error": f"{generation} after {saved.value}", "left": len(others)}

    @staticmethod
    def _wait(process: Any, saved: Any, generation: int) -> float:
        deadline = time.monotonic() + 60
        while saved.value < generation:
            if time.monotonic() > deadline or not process.is_alive():
                raise RuntimeError("the saving process did not save")
            time.sleep(0.0005)
        return time.monotonic()


def measure_kills(peer: str, count: int, rng: random.Random) -> dict[str, Any]:
    """Kill ``count`` savers; say how many files loaded, and what lay about after the next save."""
    killer = Killer(peer)
    result: dict[str, Any] = {
        "kills": count,
        "loaded": 0,
        "interrupted_saves": 0,
        "leaked": 0,
        "failures": [],
    }
    roots = [tempfile.gettempdir()] + ["/dev/shm"] * os.access("/dev/shm", os.W_OK)
    for index in range(count):
        with tempfile.TemporaryDirectory(dir=roots[index % len(roots)]) as folder:
            path = Path(folder) / "state.ckpt"
            outcome = killer.kill_once(path, rng.random())
            PEERS[peer][0](path, generation_contents(0, 10))
            result["loaded"] += outcome["loads"]
            result["interrupted_saves"] += outcome["left"] > 0
            result["leaked"] += len(list(Path(folder).iterdir())) - 1
            if not outcome["loads"]:
                result["failures"].append(outcome["error"])
    result["failures"] = result["failures"][:3]
    return result | {"file_systems": roots, "upper_bound": round(1 - 0.05 ** (1 / count), 5)}


def typical_tensors(rng: random.Random) -> dict[str, Tensor]:
    """Return a small model, its optimiser and odd dtypes."""
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    weights = {f"layer.{i}.weight": torch.randn(64, 32, generator=generator) for i in range(8)}
    moments = {f"optimizer.{i}.exp_avg": torch.randn(64, 32, generator=generator) * 1e-3 for i in range(8)}
    odd = {
        "half": weights["layer.0.weight"].bfloat16(),
        "step": torch.tensor(12.0),
        "empty": torch.zeros(0, 3),
    }
    return weights | moments | odd | {"mask": weights["layer.1.weight"] > 0}


def poke(path: Path, place: int, value: int) -> None:
    """Change one byte of a file in place."""
    with open(path, "r+b", buffering=0) as file:
        file.seek(place)
        file.write(bytes([value]))


def flip_bits(peer: str, count: int, rng: random.Random, folder: Path) -> dict[str, Any]:
    """Flip one bit at a time and load; count errors, harmless loads and silent wrong ones."""
    save, load = PEERS[peer]
    tensors, path = typical_tensors(rng), folder / "flipped"
    save(path, tensors)
    data = path.read_bytes()
    header = min(len(data), 8 + int.from_bytes(data[:8], "little"))
    tally = {"flips": count, "errors": 0, "harmless": 0, "silent": 0, "untyped": 0, "bytes": len(data)}
    for index in range(count):
        place, bit = rng.randrange(header if index % 2 else len(data)), 1 << rng.randrange(8)
        poke(path, place, data[place] ^ bit)
        try:
            loaded = load(path)
        except Exception as error:
            tally["errors"] += 1
            tally["untyped"] += not isinstance(error, CheckpointError)
        else:
            tally["harmless" if same(loaded, tensors) else "silent"] += 1
        poke(path, place, data[place])
    return tally | {"upper_bound": round(1 - 0.05 ** (1 / count), 6)}


def measure_load(megabytes: int, folder: Path) -> dict[str, float]:
    """Write and read one large file; say how long, and how much memory per byte of the file (Linux)."""
    tensors = {f"w{i}": torch.randn(2**18) for i in range(megabytes)}
    start = time.perf_counter()
    path = write_checkpoint(folder / "large", tensors, {})
    written = time.perf_counter() - start
    before = memory_mark()
    start = time.perf_counter()
    loaded = read_checkpoint(path)
    seconds = time.perf_counter() - start
    peak = memory_peak() - before
    if not same(loaded.tensors, tensors):
        raise RuntimeError("the large file did not round-trip")
    size = path.stat().st_size
    return {"megabytes": size / 2**20, "write_s": written, "read_s": seconds, "memory_per_byte": peak / size}


def memory_mark() -> int:
    """Reset the process's memory high-water mark and return its memory now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory_peak("VmRSS")


def memory_peak(field: str = "VmHWM") -> int:
    """Return the high-water mark since :func:`memory_mark`, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--flips", type=int, default=10_000)
    parser.add_argument("--peer-kills", type=int, default=12)
    parser.add_argument("--peer-flips", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {"seed": options.seed, "torch": torch.__version__, "kills": {}, "flips": {}}
    with tempfile.TemporaryDirectory() as folder:
        for peer in PEERS:
            ours = peer == "unigen"
            kills, flips = (
                (options.kills, options.flips) if ours else (options.peer_kills, options.peer_flips)
            )
            report["kills"][peer] = measure_kills(peer, kills, random.Random(options.seed))
            report["flips"][peer] = flip_bits(peer, flips, random.Random(options.seed), Path(folder))
        report["load"] = measure_load(64, Path(folder))
    kills, flips = report["kills"]["unigen"], report["flips"]["unigen"]
    good = kills["loaded"] == kills["kills"] and not kills["leaked"]
    good = good and flips["errors"] == flips["flips"] and not flips["untyped"]
    report["met"] = good and report["load"]["read_s"] <= 2 and report["load"]["memory_per_byte"] <= 2
    print(json.dumps(report, indent=None if options.json else 2))
    return 0 if report["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
