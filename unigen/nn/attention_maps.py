"""Where a causal Transformer looks: the weights of every head on the positions before it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unigen.nn.transformer import Block, CausalTransformer


@torch.no_grad()
def attention_maps(net: CausalTransformer, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Return the weights with which each head reads the inputs, as the network itself computes them.

        A = softmax(Q Kᵀ / √d + M),    M_ts = 0 for s ≤ t, −∞ beyond

    Input s is x_{s−1}, the first one the learned start, and row t of A goes into the conditional of x_t.

    Args:
        net: The network, such as ``ug.Transformer(…).net``; its dropout is left out.
        x: Tokens (N, T), or numbers (N, T, inputs).
        context: c (N, C), or None.

    Returns:
        Shape (layers, N, heads, T, T); rows sum to one.

    References:
        Vaswani et al., Attention is all you need, NeurIPS 2017, equation 1.

    Example:
        >>> net = CausalTransformer(5, 3, classes=3, width=8, heads=2, layers=1)
        >>> attention_maps(net, torch.zeros(7, 5, dtype=torch.long)).shape
        torch.Size([1, 7, 2, 5, 5])
    """
    training = net.training
    net.eval()
    try:
        h = net._embed(x[:, :-1], context, 0)
        rotation = net.rotation[:, : h.shape[1]] if net.place is None else None
        future = torch.ones(h.shape[1], h.shape[1], dtype=torch.bool, device=h.device).triu(1)
        maps = []
        for block in net.blocks:
            assert isinstance(block, Block)
            q, k, _ = block.project(h, rotation)
            maps.append((q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(future, -math.inf).softmax(-1))
            h = block(h, rotation)
        return torch.stack(maps)
    finally:
        net.train(training)
