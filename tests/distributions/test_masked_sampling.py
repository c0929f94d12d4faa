"""Oracle: D full passes of the same network, of which each keeps one feature."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from unigen.distributions.conditioners import MaskedConditioner
from unigen.distributions.likelihoods import Categorical
from unigen.distributions.masked_sampling import draw_in_order
from unigen.errors import ContextError

F64 = torch.float64
SHUFFLED = (3, 0, 5, 1, 4, 2)


def network(features=6, context=0, *, order=None, hidden=(20, 33), inputs=1, limit=2.0, parameters=2):
    net = MaskedConditioner(
        features, parameters, context=context, hidden=hidden, order=order, inputs=inputs, limit=limit,
        activation=nn.SiLU,
    ).double()  # fmt: skip
    net.centre.normal_()
    net.spread.uniform_(0.5, 2.0)
    return net


def rule(z):
    """x_i of z_i and φ_i: any function will do."""
    return lambda i, phi: z[..., i] * phi[..., 0].exp() + phi[..., 1]


def full_passes(net, z, context, encode=lambda x: x):
    x = torch.zeros_like(z)
    for i in net.order:
        x_i = rule(z)(i, net(encode(x), context)[..., i, :])
        x = torch.where(torch.arange(net.features) == i, x_i[..., None], x)
    return x


@pytest.mark.parametrize("order", [None, SHUFFLED])
@pytest.mark.parametrize("hidden", [(), (3,), (20, 33), (64, 64, 5)])
@pytest.mark.parametrize("context", [0, 4])
@pytest.mark.parametrize("gradients", [False, True])
def test_equals_full_passes(order, hidden, context, gradients):
    net = network(context=context, order=order, hidden=hidden)
    z = torch.randn(2, 7, 6, dtype=F64)
    c = torch.randn(7, context, dtype=F64) if context else None
    with torch.set_grad_enabled(gradients):
        x = draw_in_order(net, z.shape[:-1], c, rule(z))
        torch.testing.assert_close(x, full_passes(net, z, c), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("context", [0, 4])
def test_one_feature(context):
    net = network(1, context)
    z = torch.randn(7, 1, dtype=F64)
    c = torch.randn(7, context, dtype=F64) if context else None
    x = draw_in_order(net, z.shape[:-1], c, rule(z))
    torch.testing.assert_close(x, full_passes(net, z, c), rtol=1e-12, atol=1e-12)


def test_no_batch_and_a_context_that_is_shared():
    net, z, c = network(context=2), torch.randn(5, 6, dtype=F64), torch.randn(2, dtype=F64)
    x = draw_in_order(net, z.shape[:-1], c, rule(z))
    torch.testing.assert_close(x, full_passes(net, z, c), rtol=1e-12, atol=1e-12)
    alone = draw_in_order(net, torch.Size(), c, rule(z[0]))
    torch.testing.assert_close(alone, x[0], rtol=1e-12, atol=1e-12)


def test_one_hot_inputs():
    head = Categorical(3)
    net = network(order=SHUFFLED, inputs=3, parameters=3, limit=None)
    u = torch.rand(50, 6, dtype=F64)

    def choose(i, phi):
        return (phi.softmax(-1).cumsum(-1) < u[..., i, None]).sum(-1).clamp_max(2).double()

    x = draw_in_order(net, u.shape[:-1], None, choose, head.encode)
    phi = net(head.encode(x))
    again = torch.stack([choose(i, phi[:, i]) for i in range(6)], -1)
    assert torch.equal(x, again) and x.unique().numel() == 3


def test_gradients_are_those_of_full_passes():
    net, c = network(context=2, order=SHUFFLED), torch.randn(3, 2, dtype=F64, requires_grad=True)
    z = torch.randn(3, 6, dtype=F64, requires_grad=True)
    leaves = [z, c, *net.parameters()]
    weight = torch.randn(3, 6, dtype=F64)
    found = torch.autograd.grad((draw_in_order(net, z.shape[:-1], c, rule(z)) * weight).sum(), leaves)
    expected = torch.autograd.grad((full_passes(net, z, c) * weight).sum(), leaves)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("gradients", [False, True])
def test_traced_with_a_symbolic_batch(gradients):
    net = network(context=2, order=SHUFFLED)

    def run(z, c):
        with torch.set_grad_enabled(gradients):
            return draw_in_order(net, z.shape[:-1], c, rule(z))

    z, c = torch.randn(5, 6, dtype=F64), torch.randn(5, 2, dtype=F64)
    graph = make_fx(run, tracing_mode="symbolic", _allow_non_fake_inputs=True)(z, c)
    z, c = torch.randn(9, 6, dtype=F64), torch.randn(9, 2, dtype=F64)
    torch.testing.assert_close(graph(z, c), run(z, c), rtol=1e-12, atol=1e-12)


def test_every_hidden_unit_is_computed_once():
    """The rows of all matrix products together are the units of the network, once each."""
    net, rows = network(hidden=(20, 33)), []

    class Count(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten.addmm.default:
                rows.append(args[1].shape[0])
            return func(*args, **(kwargs or {}))

    with Count(), torch.no_grad():
        draw_in_order(net, torch.Size((4,)), None, rule(torch.randn(4, 6, dtype=F64)))
    assert sum(rows) == 20 + 33 + 6 * 2 - 2  # the first feature's parameters are biases alone


def test_the_ranks_follow_the_network_to_another_type_and_device():
    net = network().float()
    z = torch.randn(4, 6)
    assert draw_in_order(net, z.shape[:-1], None, rule(z)).dtype == torch.float32


@pytest.mark.parametrize(("context", "given"), [(0, torch.zeros(3, 2)), (2, None), (2, torch.zeros(3, 1))])
def test_contexts_that_do_not_fit_are_refused(context, given):
    with pytest.raises(ContextError):
        draw_in_order(network(context=context), torch.Size((3,)), given, rule(torch.zeros(3, 6)))
