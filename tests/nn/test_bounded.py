from __future__ import annotations

import torch
from torch import nn

from unigen.nn.bounded import Bounded
from unigen.nn.mlp import MLP


def test_the_output_is_the_logistic_of_the_network_in_the_box_of_the_data() -> None:
    net = Bounded(MLP(2, 3, context=1), 3).double()
    data = torch.randn(20, 3).double()
    net.set_range(data)
    x, c = torch.randn(5, 2).double(), torch.randn(5, 1).double()
    low, high = data.min(0).values, data.max(0).values
    expected = low + (high - low) / (1 + torch.exp(-net.net(x, c)))
    torch.testing.assert_close(net(x, c), expected, atol=1e-12, rtol=0)


def test_a_constant_feature_and_a_box_before_data_are_finite() -> None:
    net = Bounded(nn.Linear(1, 2), 2)
    assert float(net(torch.zeros(4, 1)).detach().abs().max()) < 4
    net.set_range(torch.tensor([[1.0, 2.0], [1.0, 3.0]]))
    y = net(torch.randn(10, 1)).detach()
    assert bool(y.isfinite().all()) and float((y[:, 0] - 1).abs().max()) < 1e-5
