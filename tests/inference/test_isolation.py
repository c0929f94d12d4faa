"""What a step must be able to put back, changed on purpose in every way and found as it was."""

from __future__ import annotations

import random

import numpy as np
import pyro
import pytest
import torch
from pyro.distributions import is_validation_enabled
from pyro.infer.util import is_validation_enabled as infers
from torch import nn
from torch.distributions import Distribution

from unigen.inference import isolation


class Stateful(nn.Module):
    """Buffers, one of them seen from two modules and one absent; numbers and loose tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.BatchNorm1d(2)
        count = torch.zeros(1)
        self.register_buffer("count", count)
        self.register_buffer("absent", None)
        self.inner.register_buffer("again", count)
        self.steps, self.name, self.loose, self.table = 0, "one", torch.ones(2), {"a": 1}


def change(module: Stateful) -> None:
    """Touch everything that a loss may touch."""
    module.count += 1.0
    module.inner.running_mean = torch.full((2,), 9.0)
    module.steps, module.name, module.loose = 5, "two", torch.zeros(2)
    vars(module)["fresh"] = "new"
    module.register_buffer("late", torch.zeros(1))
    module.eval()


def test_every_buffer_is_visited_once_with_its_owner():
    module = Stateful()
    found = [(type(owner).__name__, name) for owner, name, _ in isolation.own_buffers(module)]
    assert found == [
        ("Stateful", "count"),
        ("BatchNorm1d", "running_mean"),
        ("BatchNorm1d", "running_var"),
        ("BatchNorm1d", "num_batches_tracked"),
    ]


def test_buffers_written_in_place_or_assigned_anew_are_put_back():
    module = Stateful()
    count, mean = module.get_buffer("count"), module.inner.running_mean
    kept = isolation.keep_buffers(module)
    change(module)
    assert count.item() == 1.0 and module.inner.running_mean is not mean
    isolation.restore_buffers(kept)
    assert module.count is count and count.item() == 0.0
    assert mean is not None and module.inner.running_mean is mean and torch.equal(mean, torch.zeros(2))


def test_plain_attributes_are_numbers_strings_switches_and_loose_tensors():
    module = Stateful()
    found = {
        name: value
        for attributes, name, value in isolation.plain_attributes(module)
        if attributes is vars(module)
    }
    assert set(found) == {"training", "steps", "name", "loose"}
    inner = [
        name for attributes, name, _ in isolation.plain_attributes(module) if attributes is vars(module.inner)
    ]
    assert {"eps", "momentum", "num_features", "training"} <= set(inner)
    assert not any(name.startswith("_") for name in found)


@pytest.mark.parametrize("fails", [False, True])
def test_what_runs_inside_leaves_attributes_generators_and_store_as_they_were(fails):
    module = Stateful()
    loose, table = module.loose, module.table
    pyro.param("kept", torch.ones(1))
    states = torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)
    try:
        with isolation.untouched(module):
            change(module)
            _ = torch.randn(3), random.random(), np.random.rand()
            pyro.param("gone", torch.zeros(1))
            pyro.get_param_store()["kept"] = torch.zeros(1)
            if fails:
                raise RuntimeError("inside")
    except RuntimeError:
        assert fails
    assert (module.steps, module.name, module.training) == (0, "one", True)
    assert module.loose is loose and module.table is table and "fresh" not in vars(module)
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert repr(np.random.get_state(legacy=False)) == repr(states[2])
    store = pyro.get_param_store()
    assert set(store.keys()) == {"kept"} and store["kept"].item() == 1.0


def seed_all() -> None:
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)


@pytest.mark.parametrize(
    ("use", "foreign"),
    [
        (lambda: torch.rand(1), False),
        (random.random, True),
        (lambda: np.random.rand(), True),
        (lambda: None, False),
    ],
    ids=["torch", "python", "numpy", "none"],
)
def test_the_use_of_foreign_generators_is_seen_and_undone(use, foreign):
    seed_all()
    with isolation.generators_kept() as used_others:
        use()
        assert used_others() is foreign
    found = torch.rand(1).item(), random.random(), np.random.rand()
    seed_all()
    assert found == (torch.rand(1).item(), random.random(), np.random.rand())


def test_a_store_is_kept_apart_while_something_runs():
    pyro.param("a", torch.ones(1))
    with isolation.store_kept():
        assert pyro.param("a").item() == 1.0
        pyro.clear_param_store()
        pyro.param("b", torch.ones(1))
    assert set(pyro.get_param_store().keys()) == {"a"}


@pytest.mark.parametrize("torchs", [True, False])
def test_validation_comes_back_as_it_was_in_both_libraries(torchs):
    """The two switches may differ; both are off inside, and both come back, errors or not."""
    Distribution.set_default_validate_args(torchs)
    try:
        with pytest.raises(RuntimeError), isolation.quiet():
            assert not Distribution._validate_args and not is_validation_enabled()
            assert not infers()
            raise RuntimeError
        assert Distribution._validate_args is torchs
        assert is_validation_enabled() and infers()
    finally:
        Distribution.set_default_validate_args(True)
