"""Rounding to vertices, with the gradient of the identity."""

from __future__ import annotations

import pytest
import torch

from unigen.errors import ArgumentError, ShapeError
from unigen.nn.straight_through import StraightThrough


def test_forward_and_backward():
    z = torch.rand(5, 2, 6, requires_grad=True)
    rounded = StraightThrough(3)(z)
    blocks = z.detach().unflatten(-1, (2, 3))
    expected = torch.nn.functional.one_hot(blocks.argmax(-1), 3).flatten(-2)
    assert torch.allclose(rounded, expected.float(), atol=1e-6)
    weights = torch.randn_like(z)
    (found,) = torch.autograd.grad((rounded * weights).sum(), z)
    assert torch.equal(found, weights)


def test_refuses():
    for classes in (1, 2.0, True):
        with pytest.raises(ArgumentError):
            StraightThrough(classes)
    with pytest.raises(ShapeError):
        StraightThrough(3)(torch.zeros(2, 4))
