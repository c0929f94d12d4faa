"""The gated recurrent unit in plain operations, so that a training step can be traced over any batch size.

r, u = sigmoid(W x + V h + b),   n = tanh(W x + b + r (V h + b')),   h' = (1 − u) n + u h
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GRUCell(nn.GRUCell):
    """torch's ``nn.GRUCell``, whose fused kernel fixes the batch size of a trace; arguments and values as there.

    References:
        Cho et al., Learning phrase representations using RNN encoder–decoder, 2014.

    Example:
        >>> GRUCell(3, 5)(torch.zeros(2, 3), torch.zeros(2, 5)).shape
        torch.Size([2, 5])
    """

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Return the next state (N, H) from an input (N, D) and a state (N, H), zero if omitted."""
        h = input.new_zeros(input.shape[0], self.hidden_size) if hx is None else hx
        from_x = F.linear(input, self.weight_ih, self.bias_ih).chunk(3, -1)
        from_h = F.linear(h, self.weight_hh, self.bias_hh).chunk(3, -1)
        reset, update = torch.sigmoid(from_x[0] + from_h[0]), torch.sigmoid(from_x[1] + from_h[1])
        new = torch.tanh(from_x[2] + reset * from_h[2])
        return (1 - update) * new + update * h
