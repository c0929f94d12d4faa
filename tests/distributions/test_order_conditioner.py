"""Masks by Jacobian sparsity for every order; the copy of one order; starting values."""

from __future__ import annotations

import pytest
import torch

from unigen.distributions.order_conditioner import ACTIVATIONS, OrderConditioner, activation_of
from unigen.distributions.orders import check_orders
from unigen.errors import ArgumentError, ContextError

F64 = torch.float64


def build(features=6, orders=4, parameters=2, activation="SiLU", **options):
    net = OrderConditioner(check_orders(orders, features), parameters, activation=activation, **options)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    return net.double()


@pytest.mark.parametrize("hidden", [(), (40,), (40, 30), (30, 40, 30)])
@pytest.mark.parametrize(("inputs", "context", "direct"), [(1, 0, False), (3, 2, False), (3, 2, True)])
def test_each_jacobian_has_the_sparsity_of_its_order(hidden, inputs, context, direct):
    """A smooth activation and random weights: an entry that may differ from zero does."""
    net = build(inputs=inputs, context=context, hidden=hidden, direct=direct)
    c = torch.randn(context, dtype=F64) if context else None
    x = torch.randn(6 * inputs, dtype=F64)
    for m, order in enumerate(net.orders):
        jacobian = torch.autograd.functional.jacobian(lambda v, m=m: net(v, m, c), x)
        depends = (jacobian.unflatten(-1, (6, inputs)).abs() > 0).all(1).all(-1)
        assert torch.equal(depends, (jacobian.unflatten(-1, (6, inputs)).abs() > 0).any(1).any(-1))
        for k, i in enumerate(order):
            assert set(depends[i].nonzero().flatten().tolist()) == set(order[:k])
        if c is not None:
            given = torch.autograd.functional.jacobian(lambda v, m=m: net(x, m, v), c)
            assert bool((given != 0).all())


def test_degrees_are_even_and_dealt_anew_for_every_order():
    net = OrderConditioner(check_orders(3, 5), 1, hidden=(8,))
    degrees = net.get_buffer("degrees_0")
    assert degrees.shape == (3, 8) and not torch.equal(degrees[0], degrees[1])
    assert torch.equal(degrees.sort(1).values, torch.tensor([1, 1, 2, 2, 3, 3, 4, 4]).expand(3, 8))
    assert OrderConditioner(check_orders(3, 5), 1, hidden=(8,), context=1).get_buffer("degrees_0").min() == 0


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize(("inputs", "context", "hidden"), [(1, 0, (16,)), (2, 3, (16, 12, 14)), (1, 1, ())])
@torch.no_grad()
def test_the_copy_of_one_order_is_that_order(activation, direct, inputs, context, hidden):
    if direct and activation in ("ELU", "Tanh"):
        with pytest.raises(ArgumentError, match="odd part"):
            build(activation=activation, direct=True)
        return
    net = build(
        inputs=inputs, context=context, hidden=hidden, activation=activation, dropout=0.5, direct=direct
    ).eval()
    net.start_at(torch.randn(6, 2, dtype=F64), torch.randn(20, 6 * inputs, dtype=F64))
    x, c = torch.randn(7, 6 * inputs, dtype=F64), torch.randn(7, context, dtype=F64) if context else None
    for m in range(4):
        copy = net.at(m)
        assert copy.order == net.orders[m]
        torch.testing.assert_close(copy(x, c), net(x, m, c), rtol=0, atol=1e-12)
        torch.testing.assert_close(net(x, torch.tensor([m]), c), net(x, m, c), rtol=0, atol=0)


@torch.no_grad()
def test_one_feature_is_a_constant():
    net = OrderConditioner(((0,),), 3, hidden=(4,))
    net.start_at(torch.randn(1, 3))
    x = torch.randn(5, 1)
    assert torch.equal(net(x, 0), net(0 * x, 0))
    torch.testing.assert_close(net.at(0)(x).expand(5, 1, 3), net(x, 0))


def test_starts_at_constants_under_every_order():
    net, raw = OrderConditioner(check_orders(3, 4), 2, hidden=(16,)), torch.randn(4, 2)
    net.start_at(raw)
    for m in range(3):
        assert (net(torch.randn(9, 4), m) - raw).abs().max() < 0.5


def test_an_order_and_its_reverse_share_no_weight():
    """Each weight of the first and the last layer is alive in one of the two at most."""
    orders = ((0, 2, 1, 3, 4), (4, 3, 1, 2, 0), (1, 0, 2, 3, 4))
    net = OrderConditioner(orders, 1, hidden=(16, 12))
    inputs, first, second, outputs = net.degrees()
    assert torch.equal(first[0] + first[1], torch.full((16,), 5))
    for before, after in ((inputs, first), (second, outputs)):
        alive = before[:, None, :] <= after[:, :, None]
        assert not bool((alive[0] & alive[1]).any()) and bool((alive[0] & alive[2]).any())


def test_dropout_acts_in_training_only():
    net, x = build(dropout=0.5), torch.randn(6, dtype=F64)
    assert not torch.equal(net(x, 0), net(x, 0))
    net.eval()
    assert torch.equal(net(x, 0), net(x, 0))


def test_refusals():
    with pytest.raises(ArgumentError, match="activation"):
        activation_of("Identity")
    for dropout in (-0.1, 1.0):
        with pytest.raises(ArgumentError, match="dropout"):
            activation_of("ReLU", dropout)
    with pytest.raises(ArgumentError):
        OrderConditioner(((0, 1),), 1, hidden=(0,))
    with pytest.raises(ContextError):
        build(context=2)(torch.zeros(6, dtype=F64), 0)
