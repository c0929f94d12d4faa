"""How the random times of a diffusion loss are drawn: each is uniform on [0, 1), together they may spread evenly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor


class Times(ABC):
    """Draws n times; each is uniform on [0, 1), so that a mean over them is unbiased whatever their dependence."""

    @abstractmethod
    def draw(self, like: Tensor) -> Tensor:
        """Draw one time an example.

        Args:
            like: A batch (N, *event), for N, type and device.

        Returns:
            Times, (N,).
        """

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"{type(self).__name__}()"


@final
class UniformTimes(Times):
    """Independent times."""

    def draw(self, like: Tensor) -> Tensor:
        """n independent uniform numbers."""
        return torch.rand(like.shape[0], dtype=like.dtype, device=like.device)


@final
class LowDiscrepancyTimes(Times):
    """One uniform number u and the lattice u + i/N mod 1: the mean over the batch is a randomised quadrature.

    References:
        Kingma et al. 2021, Variational diffusion models, appendix I.1.
    """

    def draw(self, like: Tensor) -> Tensor:
        """u + i/N mod 1."""
        n = like.shape[0]
        lattice = torch.arange(n, dtype=like.dtype, device=like.device) / n
        return torch.remainder(torch.rand(1, dtype=like.dtype, device=like.device) + lattice, 1.0)


@final
class AntitheticTimes(Times):
    """Times in pairs t, 1 − t: errors that are odd in t − ½ cancel."""

    def draw(self, like: Tensor) -> Tensor:
        """The first half uniform, the second half mirrored."""
        n = like.shape[0]
        u = torch.rand((n + 1) // 2, dtype=like.dtype, device=like.device)
        return torch.cat([u, torch.remainder(1.0 - u, 1.0)])[:n]  # never 1 itself
