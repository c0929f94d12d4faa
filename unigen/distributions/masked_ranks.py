"""The ranks of a masked network's units: how many features must be known before each can be computed."""

from __future__ import annotations

from bisect import bisect_right

import torch
from torch import Tensor, nn


class Ranks:
    """The ranks of a masked network's units, as indices that sort its weights; found once, from the masks.

    Args:
        masks: Boolean masks (H_out, H_in) of the layers, first layer first; the first H_in is D·K + C.
        order: Order in which the features are drawn.
        inputs: K, numbers that encode one feature.
        parameters: P, outputs a feature.
    """

    def __init__(self, masks: list[Tensor], order: tuple[int, ...], inputs: int, parameters: int) -> None:
        position = torch.empty(len(order), dtype=torch.long)
        position[torch.tensor(order)] = torch.arange(len(order))
        rank = (position + 1).repeat_interleave(inputs)
        rank = torch.cat((rank, rank.new_zeros(masks[0].shape[1] - rank.shape[0])))  # the context is known
        self.known: list[list[int]] = []  # of each hidden layer: how many units have rank ≤ k, k = 0 … D − 1
        # of inputs, hidden units and outputs, sorted by rank; lists, since a traced step takes no tensor but its own
        self.indices = [_blocks(order, inputs)]
        for mask in masks[:-1]:
            rank = (mask * rank).amax(1)
            ranks = rank.sort().values.tolist()
            self.known.append([bisect_right(ranks, k) for k in range(len(order))])
            self.indices.append(rank.argsort(stable=True).tolist())
        self.indices.append(_blocks(order, parameters))

    def triangular(self, layers: list[nn.Module]) -> list[tuple[Tensor, Tensor]]:
        """Return weight and bias (a column) of every layer, sorted by rank and without the context."""
        found = []
        for layer, before, after in zip(layers, self.indices[:-1], self.indices[1:], strict=True):
            assert isinstance(layer, nn.Linear) and isinstance(layer.mask, Tensor)
            weight = layer.weight * layer.mask
            rows, columns = (
                torch.tensor(after, device=weight.device),
                torch.tensor(before, device=weight.device),
            )
            bias = layer.bias.index_select(0, rows)
            found.append((weight.index_select(0, rows).index_select(1, columns), bias[:, None]))
        return found


def _blocks(order: tuple[int, ...], size: int) -> list[int]:
    """Return the indices of blocks of ``size`` entries in an order."""
    return [i * size + j for i in order for j in range(size)]
