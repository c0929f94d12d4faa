"""The moving average against its recursion written out; swapping twice is the identity."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from unigen.errors import ArgumentError
from unigen.inference.averages import Average, copy_state
from unigen.inference.fit import fit
from unigen.inference.persist import load
from unigen.models.vae import VAE


def test_the_recursion():
    module, decay = nn.Linear(2, 2), 0.6
    average, expected = Average(module, decay), module.weight.detach().double().clone()
    for t in range(1, 30):
        with torch.no_grad():
            module.weight.normal_()
        average.update()
        d = min(decay, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * module.weight.detach().double()
        assert torch.allclose(average.shadow["weight"].double(), expected, atol=1e-6)


def test_swapping_keeps_the_parameter_objects_and_undoes_itself():
    module = nn.Linear(2, 2)
    average, weight = Average(module, 0.5), module.weight
    with torch.no_grad():
        module.weight.fill_(7.0)
    before, shadow = copy_state(module), average.shadow["weight"].clone()
    average.swap()
    assert module.weight is weight and torch.equal(module.weight, shadow)
    average.swap()
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5])
def test_decays_outside_the_interval_are_refused(decay):
    with pytest.raises(ArgumentError, match="ema"):
        Average(nn.Linear(1, 1), decay)


def test_a_copy_is_no_view():
    module = nn.BatchNorm1d(2)
    kept = copy_state(module)
    with torch.no_grad():
        module.weight.add_(1.0)
        module.running_mean.add_(1.0)
    assert set(kept) == set(module.state_dict())
    assert torch.equal(kept["weight"], torch.ones(2)) and torch.equal(kept["running_mean"], torch.zeros(2))
    assert not any(v.requires_grad for v in kept.values())


def test_the_start_is_forgotten_at_the_rate_of_the_warm_up():
    """With parameters 1 from the first step on, the average is 1 − 10! (t + 1)! / (t + 10)!, whatever the decay."""
    module = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        module.weight.zero_()
    average = Average(module, 0.9999)
    with torch.no_grad():
        module.weight.fill_(1.0)
    for t in range(1, 51):
        average.update()
        left = math.factorial(10) * math.factorial(t + 1) / math.factorial(t + 10)
        assert 1.0 - float(average.shadow["weight"]) == pytest.approx(left, rel=1e-6, abs=1e-14)
    assert left < 1e-8


def test_a_block_of_swapped_parameters_ends_even_by_an_error():
    module = nn.Linear(2, 2)
    average, before = Average(module, 0.5), copy_state(module)
    average.shadow["weight"].fill_(3.0)
    with pytest.raises(RuntimeError, match="inside"), average.swapped():
        assert torch.equal(module.weight, torch.full((2, 2), 3.0))
        raise RuntimeError("inside")
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


@pytest.mark.parametrize("held", [False, True])
def test_after_a_fit_queries_use_the_average_and_the_last_parameters_are_kept(tmp_path, held):
    torch.manual_seed(0)
    program, path, x = VAE(3, 1, hidden=(4,)), [], torch.randn(40, 3)
    record = fit(
        program, x, steps=12, batch_size=8, lr=0.05, seed=1, ema=0.9, progress=False, checkpoint=tmp_path / "run",
        callbacks=[lambda event: path.append(copy_state(event.program))],
        validation=x if held else None, validate_every=3,
    )  # fmt: skip
    name = "decoder.layers.0.weight"
    averaged = copy_state(program)
    assert not torch.equal(averaged[name], path[-1][name])
    if not held:
        torch.manual_seed(0)
        expected = VAE(3, 1, hidden=(4,)).state_dict()[name].double()
        for t, state in enumerate(path, start=1):
            d = min(0.9, (1 + t) / (10 + t))
            expected = d * expected + (1 - d) * state[name].double()
        torch.testing.assert_close(averaged[name].double(), expected, atol=1e-6, rtol=0)
    assert record.average is not None
    with record.average.swapped():
        assert all(torch.equal(path[-1][n], p) for n, p in program.named_parameters())
    assert all(torch.equal(averaged[n], p) for n, p in program.named_parameters())
    of_run = load(
        tmp_path / "run"
    ).state_dict()  # the checkpoint of the run has the parameters of the last step
    assert all(torch.equal(path[-1][n], of_run[n]) for n, _ in program.named_parameters())


def test_without_an_average_there_is_none():
    assert fit(VAE(3, 1, hidden=(4,)), torch.randn(8, 3), steps=2, progress=False).average is None
