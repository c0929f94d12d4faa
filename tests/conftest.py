"""What every test may rely on: one thread, a seed of its own, a clean parameter store, validation switched on.

The seed of a test is a hash of its name and of UNIGEN_TEST_SEED (0 by default), so a suite run in any order, whole
or in part, draws the same numbers, and another value draws others: a test must hold for every one.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import random
import zlib

import numpy as np
import pyro
import pytest
import torch

# Importing zuko switches off torch's validation; this file undoes it, so that a test may use zuko as an oracle.
import unigen.distributions.zuko_adapter  # noqa: F401
from unigen.inference import compiled

torch.set_num_threads(1)

SUITE_SEED = int(os.environ.get("UNIGEN_TEST_SEED", "0"))


def pytest_report_header(config: pytest.Config) -> str:
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return f"unigen: torch {torch.__version__}, Pyro {pyro.__version__}, accelerator {accelerator}, seed {SUITE_SEED}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse names that differ between processes; leave out the tests marked ``device`` without an accelerator."""
    unstable = [item.nodeid for item in items if " at 0x" in item.nodeid or r"\x1f\x8b" in item.nodeid]
    if unstable:
        raise pytest.UsageError(
            f"names of tests that change from run to run (an address, a clock): {unstable[:3]}"
        )
    if torch.cuda.is_available():
        return
    left_out = [item for item in items if item.get_closest_marker("device")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("device")]


@pytest.fixture(autouse=True)
def _own_seed(request: pytest.FixtureRequest):
    """Seed every generator from the test's name, and put back every state afterwards."""
    state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    seed = zlib.crc32(f"{SUITE_SEED}:{request.node.nodeid}".encode())
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    yield
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])
    random.setstate(state[2])


@pytest.fixture(autouse=True)
def _clean_globals():
    """Empty Pyro's store around each test, and fail one that leaves a global switch in another position."""
    pyro.clear_param_store()
    yield
    left = {name: now for name, now, before in _switches() if now != before}
    pyro.clear_param_store()
    if left:
        _reset_switches()
    assert not left, f"the test left global switches changed: {left}"


def _switches() -> list[tuple[str, object, object]]:
    """Return (name, position now, position a test must leave) of the globals that tests share."""
    return [
        ("torch.distributions validation", torch.distributions.Distribution._validate_args, True),
        ("pyro.distributions validation", pyro.distributions.is_validation_enabled(), True),
        ("pyro.infer validation", pyro.infer.util.is_validation_enabled(), True),
        ("default dtype", torch.get_default_dtype(), torch.float32),
        ("gradients", torch.is_grad_enabled(), True),
        ("deterministic algorithms", torch.are_deterministic_algorithms_enabled(), False),
        ("threads", torch.get_num_threads(), 1),
        ("Pyro's handler stack", len(pyro.poutine.runtime._PYRO_STACK), 0),
    ]


def _reset_switches() -> None:
    torch.distributions.Distribution.set_default_validate_args(True)
    pyro.enable_validation(True)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(1)
    pyro.poutine.runtime._PYRO_STACK.clear()


@pytest.fixture
def interpreted_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``fit(compile=True)`` trace its step and run the trace operation by operation, without Inductor."""
    monkeypatch.setattr(compiled, "inductor", compiled.interpreted)
