"""The uniform distribution over codes: each of several positions one of K values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from unigen.distributions.likelihoods import IndexCategorical
from unigen.errors import ArgumentError


class UniformCodes(nn.Module):
    """P(z) = K^(−P), on whatever device and dtype the module is moved to; draws are integer-valued reals.

    Args:
        codes: K.
        shape: Positions, P in all.

    Raises:
        ArgumentError: A size below one, or K < 2.

    Example:
        >>> UniformCodes(4, (2, 3))().log_prob(torch.zeros(2, 3)).exp() * 4**6
        tensor(1.0000)
    """

    logits: Tensor

    def __init__(self, codes: int, shape: Sequence[int]) -> None:
        super().__init__()
        if codes < 2 or min(shape, default=0) < 1:
            raise ArgumentError(
                program="UniformCodes", got=f"codes={codes}, shape={tuple(shape)}",
                expected="codes ≥ 2 and sizes ≥ 1",
            )  # fmt: skip
        self.codes, self.shape = codes, tuple(shape)
        self.register_buffer("logits", torch.zeros(*shape, codes), persistent=False)

    def forward(self) -> TorchDistribution:
        """Return the distribution, event shape that of the positions."""
        return IndexCategorical(logits=self.logits).to_event(len(self.shape))
