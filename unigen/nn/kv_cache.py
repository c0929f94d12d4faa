"""The keys and values that causal attention has computed for the positions so far."""

from __future__ import annotations

from torch import Tensor


class KeyValueCache:
    """Keys and values of the positions seen so far, one pair a layer, in memory that is reserved once.

    Args:
        layers: Number of layers.
        length: Largest number of positions.
    """

    def __init__(self, layers: int, length: int) -> None:
        self.length, self.capacity = 0, length
        self._stored: list[tuple[Tensor, Tensor] | None] = [None] * layers

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store (N, heads, t, d) of the new positions and return all of a layer, (N, heads, length + t, d)."""
        stored = self._stored[layer]
        if stored is None:
            shape = (*k.shape[:2], self.capacity, k.shape[-1])
            stored = self._stored[layer] = (k.new_zeros(shape), v.new_zeros(shape))
        end = self.length + k.shape[2]
        stored[0][:, :, self.length : end] = k
        stored[1][:, :, self.length : end] = v
        return stored[0][:, :, :end], stored[1][:, :, :end]

    def select(self, rows: Tensor) -> None:
        """Keep the given rows of the batch, in the given order (a beam that survives may occur twice)."""
        self._stored = [None if s is None else (s[0][rows], s[1][rows]) for s in self._stored]
