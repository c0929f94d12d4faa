"""Oracle: the Jacobian by automatic differentiation must be zero wherever the mask says so, and only there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unigen.distributions.conditioners import MaskedConditioner, PlainConditioner, join
from unigen.errors import ArgumentError, ContextError


def jacobian(net: MaskedConditioner, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
    """|∂φ_i/∂x_j| summed over the parameters and over several inputs, shape (D, inputs · D)."""
    total = torch.zeros(net.features, x.shape[-1], dtype=x.dtype)
    for row in x:
        j = torch.autograd.functional.jacobian(lambda v: net(v, context), row)
        total = total + j.abs().sum(1)
    return total


@pytest.mark.parametrize("order", [None, (2, 0, 4, 1, 3), (4, 3, 2, 1, 0)])
@pytest.mark.parametrize("inputs", [1, 3])
@pytest.mark.parametrize("hidden", [(), (32,), (32, 48)])
def test_jacobian_is_strictly_lower_triangular_in_the_order_drawn(order, inputs, hidden):
    d = 5
    net = MaskedConditioner(d, 2, hidden=hidden, order=order, inputs=inputs, activation=nn.SiLU).double()
    depends = jacobian(net, torch.randn(4, d * inputs, dtype=torch.float64))
    rank = {feature: k for k, feature in enumerate(order or range(d))}
    for i in range(d):
        for j in range(d):
            block = depends[i, j * inputs : (j + 1) * inputs]
            if rank[j] < rank[i]:
                assert (block > 0).all()
            else:
                assert (block == 0).all()


def test_every_feature_sees_the_whole_context():
    net = MaskedConditioner(3, 2, context=4, hidden=(32,), activation=nn.SiLU)
    x, c = torch.randn(3), torch.randn(4)
    j = torch.autograd.functional.jacobian(lambda v: net(x, v), c)
    assert (j.abs().sum(1) > 0).all()


def test_gain_scales_the_start():
    torch.manual_seed(0)
    one = MaskedConditioner(4, 2)
    torch.manual_seed(0)
    tenth = MaskedConditioner(4, 2, gain=0.1)
    x = torch.randn(3, 4)
    torch.testing.assert_close(tenth(x), 0.1 * one(x))


@pytest.mark.parametrize(("features", "context"), [(1, 0), (1, 2), (4, 0)])
def test_start_at_gives_the_outputs_that_were_asked_for(features, context):
    net = MaskedConditioner(features, 2, context=context, gain=0.0)
    raw, x = torch.randn(features, 2), 5 + 3 * torch.randn(500, features)
    net.start_at(raw, x)
    c = torch.randn(500, context) if context else None
    torch.testing.assert_close(net(x, c), raw.expand(500, features, 2))
    if net.net is not None:
        seen = (x - net.centre) / net.spread
        torch.testing.assert_close(seen.mean(0), torch.zeros(features), rtol=0, atol=1e-5)
        torch.testing.assert_close(seen.std(0), torch.ones(features))


def test_inputs_are_clipped_at_the_limit_and_not_before():
    net = PlainConditioner(2, 1, 1, limit=3.0)
    assert torch.equal(net(torch.tensor([50.0, -3.0])), net(torch.tensor([3.0, -1e4])))
    assert not torch.equal(net(torch.tensor([2.9, 0.0])), net(torch.tensor([3.0, 0.0])))


def test_plain_conditioner_shape_and_context():
    net = PlainConditioner(2, 3, 4, context=5)
    assert net(torch.randn(6, 7, 2), torch.randn(7, 5)).shape == (6, 7, 3, 4)
    with pytest.raises(ContextError):
        net(torch.randn(7, 2))


def test_join_broadcasts_both_ways():
    assert join(torch.randn(3), torch.randn(7, 2), 2).shape == (7, 5)
    assert join(torch.randn(4, 1, 3), torch.randn(7, 2), 2).shape == (4, 7, 5)


@pytest.mark.parametrize(("context", "features"), [(None, 2), (torch.zeros(3, 4), 2), (torch.zeros(3, 4), 0)])
def test_join_refuses_a_wrong_context(context, features):
    with pytest.raises(ContextError):
        join(torch.zeros(3, 1), context, features)


@pytest.mark.parametrize(
    "options", [{"features": 0}, {"parameters": 0}, {"hidden": (0,)}, {"order": (0, 0, 1)}, {"context": -1}]
)
def test_bad_sizes_are_refused(options):
    with pytest.raises(ArgumentError):
        MaskedConditioner(**{"features": 3, "parameters": 1} | options)
