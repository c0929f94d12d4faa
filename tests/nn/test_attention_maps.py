"""Attention weights: a mask, rows that sum to one, and the output that torch's own attention computes from them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from unigen.nn.attention_maps import attention_maps
from unigen.nn.transformer import CausalTransformer


@pytest.fixture(params=["rotary", "learned"])
def net(request):
    net = CausalTransformer(
        7, 5, classes=5, width=12, heads=3, layers=2, positions=request.param, dropout=0.3
    )
    return net.double()


def test_weights_are_causal_and_sum_to_one(net):
    maps = attention_maps(net, torch.randint(5, (4, 7)))
    assert maps.shape == (2, 4, 3, 7, 7)
    assert torch.equal(maps.triu(1), torch.zeros_like(maps))
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 4, 3, 7, dtype=torch.float64))
    assert net.training  # as it was


def test_weights_are_those_of_torch(net, monkeypatch):
    x = torch.randint(5, (4, 7))
    maps, read, own = attention_maps(net, x), [], F.scaled_dot_product_attention

    def watched(q, k, v, **options):
        read.append((v, own(q, k, v, **options)))
        return read[-1][1]

    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    net.eval()(x)
    for weights, (v, out) in zip(maps, read, strict=True):
        torch.testing.assert_close(weights @ v, out, rtol=1e-10, atol=1e-12)


def test_numbers_and_context():
    net = CausalTransformer(4, 2, inputs=1, context=3, width=8, heads=2, layers=1)
    with torch.no_grad():
        net.context.weight.mul_(100.0)
    x = torch.randn(6, 4, 1)
    one, other = (attention_maps(net, x, torch.randn(6, 3)) for _ in range(2))
    assert one.shape == (1, 6, 2, 4, 4)
    assert not torch.allclose(one, other)
