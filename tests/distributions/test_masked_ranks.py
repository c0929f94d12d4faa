"""Oracle: sorted by rank, every masked weight is block lower triangular, and the sort loses nothing."""

from __future__ import annotations

import pytest
import torch

from unigen.distributions.conditioners import MaskedConditioner


@pytest.mark.parametrize("order", [None, (3, 0, 2, 1)])
@pytest.mark.parametrize("context", [0, 2])
def test_weights_are_block_triangular_in_the_ranks(order, context):
    net = MaskedConditioner(4, 2, context=context, hidden=(9, 12), order=order)
    assert net.net is not None
    layers = list(net.net)[::2]
    sorted_weights = net.ranks.triangular(layers)
    ends = [[1, 2, 3, 4], *net.ranks.known, [2, 4, 6, 8]]
    ends[0] = [0, 1, 2, 3]  # before step k, k features are known
    for (weight, bias), before, after in zip(sorted_weights, ends[:-1], ends[1:], strict=True):
        for seen, rows in zip(before, after, strict=True):
            assert (weight[:rows, seen:] == 0).all()
        assert bias.shape == (weight.shape[0], 1)
    for layer, (weight, _) in zip(layers[1:], sorted_weights[1:], strict=True):
        torch.testing.assert_close(weight.abs().sum(), (layer.weight * layer.mask).abs().sum())
