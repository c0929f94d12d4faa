"""Descriptions that build the right steps, and refuse what cannot be built."""

from __future__ import annotations

import pytest
import torch

from unigen.distributions.channel_layers import ActNorm, FactorOut, LULinear, Permutation, Squeeze
from unigen.distributions.channel_steps import ActNormStep, LinearStep
from unigen.distributions.layers import Coupling
from unigen.distributions.multiscale import FactorOutStep
from unigen.errors import ArgumentError


def test_they_build_their_steps():
    assert isinstance(ActNorm().build((3,), 0, 0), ActNormStep)
    assert isinstance(LULinear().build((4, 2, 2), 0, 0), LinearStep)
    x = torch.randn(2, 3)
    assert torch.equal(Permutation().build((3,), 0, 0)()(x), x.flip(-1))
    assert torch.equal(Permutation((2, 0, 1)).build((3,), 0, 0)()(x), x[:, [2, 0, 1]])
    step = FactorOut([Coupling()]).build((5, 2, 2), 0, 0)
    assert isinstance(step, FactorOutStep) and step.count == 3


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Permutation((0, 0, 1)), (3,)),
        (Permutation((0, 1)), (3,)),
        (Squeeze(), (1, 7, 8)),
        (Squeeze(), (4,)),
        (FactorOut([]), (4,)),
        (FactorOut([Coupling()]), (1, 4, 4)),
    ],
    ids=repr,
)
def test_what_cannot_be_built_is_refused(layer, shape):
    with pytest.raises(ArgumentError):
        layer.build(shape, 0, 0)
