"""The cache against concatenation."""

from __future__ import annotations

import torch

from unigen.nn.kv_cache import KeyValueCache


def test_what_is_stored_is_what_was_appended_in_order():
    cache, k, v = KeyValueCache(2, 6), torch.randn(3, 2, 6, 4), torch.randn(3, 2, 6, 4)
    for start, end in ((0, 3), (3, 4), (4, 6)):
        for layer in (0, 1):
            got = cache.append(layer, k[:, :, start:end] + layer, v[:, :, start:end] - layer)
            assert torch.equal(got[0], k[:, :, :end] + layer) and torch.equal(got[1], v[:, :, :end] - layer)
        cache.length = end


def test_selected_rows_replace_the_batch():
    cache, k = KeyValueCache(1, 3), torch.randn(3, 1, 3, 2)
    cache.append(0, k[:, :, :1], -k[:, :, :1])
    cache.length = 1
    rows = torch.tensor([2, 2, 0, 1])
    cache.select(rows)
    got = cache.append(0, k[rows][:, :, 1:2], -k[rows][:, :, 1:2])
    assert torch.equal(got[0], k[rows][:, :, :2]) and torch.equal(got[1], -k[rows][:, :, :2])
