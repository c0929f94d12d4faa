"""A drift of the state alone."""

from __future__ import annotations

import torch

from unigen.nn.autonomous import Autonomous


def test_it_does_not_depend_on_time_and_reads_its_context():
    net, x = Autonomous(2, (7,)), torch.randn(4, 5, 2)
    assert torch.equal(net(x, torch.tensor(0.0)), net(x, torch.tensor(9.0)))
    given = Autonomous(2, (7,), context=3)
    assert given(x, torch.zeros(()), torch.randn(5, 3)).shape == x.shape


def test_without_hidden_layers_it_is_affine():
    net, x = Autonomous(2, ()), torch.randn(5, 2)
    layer = net.body.layers[0]
    torch.testing.assert_close(net(x, torch.zeros(())), x @ layer.weight.mT + layer.bias)


def test_a_bounded_drift_is_bounded_by_its_last_weights():
    net = Autonomous(3, (9,), bounded=True).double()
    last = net.body.layers[-1]
    limit = last.weight.abs().sum(1) + last.bias.abs()
    far = 1e6 * torch.randn(200, 3).double()
    assert (net(far, torch.zeros(())).abs() <= limit + 1e-12).all()
    assert (Autonomous(3, (9,)).double()(far, torch.zeros(())).abs() > limit).any()
