"""Block Gibbs of spins with pairwise couplings: blocks of spins that do not touch, their sweep, their annealing path.

    p(s_i = 1 | rest) = σ(2 (θ_i + Σ_j J_ij s_j))

Spins of one colour have no coupling among them and are drawn together: two colours on a chequerboard.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions.constraints import Constraint

from unigen.distributions.pairwise_spins import PairwiseSpins


class _Spins(Constraint):
    is_discrete = True
    event_dim = 0

    def check(self, value: Tensor) -> Tensor:
        return (value == 1) | (value == -1)


spins = _Spins()


@torch.no_grad()
def sweep_spins(
    s: Tensor, couplings: Tensor, field: Tensor, blocks: Sequence[Tensor], beta: float = 1.0
) -> Tensor:
    """Return spins after each block has been drawn given the others, the couplings times β.

    Args:
        s: Spins ±1, shape (N, n).
        couplings: J, shape (n, n).
        field: θ, shape (n,).
        blocks: Indices of units without a coupling among them, each of shape (b,).
        beta: β.
    """
    for block in blocks:
        p = (2.0 * (beta * (s @ couplings[:, block]) + field[block])).sigmoid()
        s = s.index_copy(1, block, 2.0 * (torch.rand_like(p) < p).to(s.dtype) - 1.0)
    return s


class SpinPath:
    """The path from independent spins to coupled ones, log f_β(s) = ½ β sᵀ J s + θ·s + constant.

    Args:
        model: Couplings and field.
        blocks: As for ``sweep_spins``.
    """

    def __init__(self, model: PairwiseSpins, blocks: Sequence[Tensor]) -> None:
        self.model, self.blocks = model, blocks
        field = model.field.abs()
        self.log_z_base = (field + torch.log1p(torch.exp(-2.0 * field))).sum() + model.constant

    def start(self, n: int) -> Tensor:
        """Return n independent draws at β = 0, shape (n, units)."""
        p = (2.0 * self.model.field).sigmoid().expand(n, -1)
        return 2.0 * (torch.rand_like(p) < p).to(p.dtype) - 1.0

    def state(self, x: Tensor) -> Tensor:
        """Return the spins themselves."""
        return x

    def log_density(self, state: Tensor, beta: float) -> Tensor:
        """Return log f_β in nats, shape (n,)."""
        model = self.model
        coupled = 0.5 * ((state @ model.couplings) * state).sum(-1)
        return beta * coupled + state @ model.field + model.constant

    def transition(self, state: Tensor, beta: float) -> Tensor:
        """Return the spins after a sweep at β."""
        return sweep_spins(state, self.model.couplings, self.model.field, self.blocks, beta)


def log_cosh(x: Tensor) -> Tensor:
    """Return log cosh x, without overflow."""
    return x.abs() + torch.log1p(torch.exp(-2.0 * x.abs())) - math.log(2.0)
