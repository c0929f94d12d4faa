from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from unigen.errors import ArgumentError, ContextError, ShapeError
from unigen.nn.mlp import MLP, concatenate


def by_hand(net: MLP, x: torch.Tensor) -> torch.Tensor:
    """Write the network out as matrix products."""
    linear = [layer for layer in net.layers if isinstance(layer, nn.Linear)]
    for layer in linear[:-1]:
        x = x @ layer.weight.T + layer.bias
        x = x / (1 + torch.exp(-x))
    return x @ linear[-1].weight.T + linear[-1].bias


def test_equals_the_matrix_products_written_out() -> None:
    torch.manual_seed(0)
    net = MLP(3, 2, hidden=(5, 7), context=4).double()
    x, c = torch.randn(6, 3).double(), torch.randn(6, 4).double()
    torch.testing.assert_close(net(x, c), by_hand(net, torch.cat([x, c], -1)), atol=1e-12, rtol=0)


@pytest.mark.parametrize("lead", [(), (6,), (2, 6), (3, 2, 6)])
def test_leading_dimensions_are_a_batch(lead: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net = MLP(3, 2).double()
    x = torch.randn(*lead, 3).double()
    expected = by_hand(net, x.reshape(-1, 3)).reshape(*lead, 2)
    torch.testing.assert_close(net(x), expected, atol=1e-12, rtol=0)


def test_context_broadcasts_over_leading_dimensions() -> None:
    torch.manual_seed(0)
    net = MLP(3, 2, context=4)
    x, c = torch.randn(7, 5, 3), torch.randn(5, 4)
    out = net(x, c)
    assert out.shape == (7, 5, 2)
    for s in range(7):
        torch.testing.assert_close(out[s], net(x[s], c))
    torch.testing.assert_close(net(x[0, :1], c), net(x[0, :1].expand(5, 3), c))


def test_no_hidden_layer_is_affine_and_no_features_is_a_function_of_the_context() -> None:
    net = MLP(3, 2, hidden=())
    assert sum(p.numel() for p in net.parameters()) == 8
    assert MLP(0, 2, context=3)(torch.empty(4, 0), torch.randn(4, 3)).shape == (4, 2)


def test_activation_is_copied_for_each_layer() -> None:
    net = MLP(3, 2, activation=nn.PReLU())
    slopes = [layer for layer in net.layers if isinstance(layer, nn.PReLU)]
    assert len(slopes) == 2
    assert slopes[0].weight is not slopes[1].weight


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    net = MLP(3, 2, context=4)
    net(torch.randn(9, 3), torch.randn(9, 4)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_bad_input_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"got \(5, 2\), expected \(\.\.\., 3\)"):
        MLP(3, 2)(torch.randn(5, 2))
    with pytest.raises(ContextError, match="construct the network with context"):
        MLP(3, 2)(torch.randn(5, 3), torch.randn(5, 1))
    with pytest.raises(ContextError, match="no context"):
        MLP(3, 2, context=4)(torch.randn(5, 3))
    with pytest.raises(ContextError, match=r"\(5, 3\)"):
        MLP(3, 2, context=4)(torch.randn(5, 3), torch.randn(5, 3))
    with pytest.raises(ShapeError, match="do not broadcast"):
        concatenate(torch.randn(5, 3), torch.randn(4, 3))
    with pytest.raises(ArgumentError):
        MLP(3, 0)


def test_traces_with_a_symbolic_batch_size() -> None:
    torch.manual_seed(0)
    net = MLP(3, 2, context=4)
    graph = make_fx(lambda x, c: net(x, c), tracing_mode="symbolic", _allow_non_fake_inputs=True)(
        torch.randn(6, 3), torch.randn(6, 4)
    )
    x, c = torch.randn(11, 3), torch.randn(11, 4)
    torch.testing.assert_close(graph(x, c), net(x, c))
