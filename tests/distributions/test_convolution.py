"""Shapes, locality by the Jacobian, the context, and what is refused."""

from __future__ import annotations

import pytest
import torch

from unigen.distributions.convolution import ConvolutionalConditioner
from unigen.errors import ArgumentError, ContextError


def test_shapes_with_and_without_context():
    plain = ConvolutionalConditioner(2, 3, 5, hidden=(8, 8))
    assert plain(torch.randn(4, 7, 2, 6, 5)).shape == (4, 7, 3, 6, 5, 5)
    assert plain(torch.randn(2, 6, 5)).shape == (3, 6, 5, 5)
    with_context = ConvolutionalConditioner(2, 3, 5, context=4, hidden=(8,))
    assert with_context(torch.randn(4, 1, 2, 6, 5), torch.randn(7, 4)).shape == (4, 7, 3, 6, 5, 5)


def test_a_pixel_sees_two_steps_around_it_and_the_context_everywhere():
    net = ConvolutionalConditioner(1, 1, 1, context=2, hidden=(16, 16)).double()
    x, c = torch.randn(1, 9, 9, dtype=torch.float64), torch.randn(2, dtype=torch.float64)
    j = torch.autograd.functional.jacobian(lambda v: net(v, c)[0, 4, 4, 0], x)[0]
    inside = torch.zeros(9, 9, dtype=torch.bool)
    inside[2:7, 2:7] = True
    assert (j[~inside] == 0).all() and (j[inside] != 0).all()
    by_context = torch.autograd.functional.jacobian(lambda v: net(x, v)[0, :, :, 0], c)
    assert (by_context.abs().sum(-1) > 0).all()


def test_the_parameters_of_one_channel_stand_together():
    net = ConvolutionalConditioner(1, 2, 3, hidden=(4,))
    with torch.no_grad():
        net.layers[-1].weight.zero_()
        net.layers[-1].bias.copy_(torch.arange(6.0))
    phi = net(torch.randn(1, 2, 2))
    assert torch.equal(phi[:, 0, 0], torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]))


def test_inputs_are_clipped():
    net = ConvolutionalConditioner(1, 1, 1, hidden=(4,), limit=2.0)
    x = torch.randn(1, 3, 3)
    assert torch.equal(net(50 + x), net(torch.full((1, 3, 3), 2.0)))


def test_bad_sizes_and_contexts_are_refused():
    with pytest.raises(ArgumentError):
        ConvolutionalConditioner(1, 1, 1, hidden=(0,))
    with pytest.raises(ContextError):
        ConvolutionalConditioner(1, 1, 1, context=2)(torch.zeros(1, 3, 3))
    with pytest.raises(ContextError):
        ConvolutionalConditioner(1, 1, 1)(torch.zeros(1, 3, 3), torch.zeros(2))
