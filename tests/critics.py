"""A program and data in one dimension whose density ratio is known, and the critic that has it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unigen.models.gan import GAN
from unigen.nn.critic import Critic
from unigen.nn.mlp import MLP

SHIFT, SCALE = 0.5, 1.5  # q = N(.5, 1.5²), p = N(0, 1)


def program(context: int = 0) -> GAN:
    """x = 1.5 z + .5 (+ c)."""
    net = MLP(1, 1, hidden=(), context=context)
    with torch.no_grad():
        net.layers[0].weight.copy_(torch.tensor([[SCALE] + [1.0] * context]))
        net.layers[0].bias.fill_(SHIFT)
    return GAN(1, 1, generator=net, context=context)


class LogRatio(nn.Module):
    """log N(x − c; 0, 1) − log N(x − c; .5, 1.5²)."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p/q, shape (N, 1)."""
        u = x if context is None else x - context
        return -u.square() / 2 + (u - SHIFT).square() / (2 * SCALE**2) + math.log(SCALE)


def exact_critic(context: int = 0) -> Critic:
    """The critic a perfect game would end with."""
    return Critic(1, net=LogRatio(), context=context).read_as("log ratio")


def z_scores(x: Tensor) -> tuple[float, float]:
    """How far mean and variance of draws are from those of N(0, 1), in standard errors."""
    n = x.shape[0]
    return float(x.mean() * math.sqrt(n)), float((x.square().mean() - 1) * math.sqrt(n / 2))
