from __future__ import annotations

import pytest
import torch

from unigen.errors import ContextError, ShapeError
from unigen.nn.drift import DriftMLP


@pytest.mark.parametrize("t", [torch.tensor(0.3), torch.full((5,), 0.3)], ids=["one time", "a time each"])
def test_times_broadcast(t):
    network, x, c = DriftMLP(2, (8,), context=3), torch.randn(5, 2), torch.randn(5, 3)
    assert network(x, t, c).shape == (5, 2)
    torch.testing.assert_close(network(x, t, c), network(x, torch.full((5,), 0.3), c))


def test_it_depends_on_state_time_and_context_and_starts_small():
    network, x, c = DriftMLP(2, (32, 32), context=3), torch.randn(500, 2), torch.randn(500, 3)
    v = network(x, torch.tensor(0.1), c).detach()
    assert float(v.square().mean().sqrt()) < 0.2
    for other in (
        network(x + 1, torch.tensor(0.1), c),
        network(x, torch.tensor(0.9), c),
        network(x, torch.tensor(0.1), c + 1),
    ):
        assert float((other.detach() - v).abs().max()) > 1e-4


def test_misuse_is_refused():
    with pytest.raises(ContextError):
        DriftMLP(2, (8,), context=1)(torch.randn(3, 2), torch.tensor(0.0))
    with pytest.raises(ContextError):
        DriftMLP(2, (8,))(torch.randn(3, 2), torch.tensor(0.0), torch.randn(3, 1))
    with pytest.raises(ShapeError):
        DriftMLP(2, (8,))(torch.randn(3, 4), torch.tensor(0.0))
