"""The moving average against its recursion written out; swapping twice is the identity."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unigen.errors import ArgumentError
from unigen.inference.averages import Average, copy_state


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
