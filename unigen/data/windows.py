"""Windows of a long sequence of tokens, as a torch data set that copies none of them in advance."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from unigen.errors import ArgumentError, DTypeError, EmptyDataError, ShapeError


class Windows(Dataset[Tensor]):
    """Random windows of T tokens that together cover the sequence: an epoch is about one pass over it.

        item k = tokens[kT + u … kT + u + T − 1],   u uniform on 0 … T − 1, anew at every look

    so every window of the sequence turns up sooner or later, while an epoch has only ⌊(M − 1) / T⌋ of them.

    Args:
        tokens: Integers, shape (M,).
        length: T.
        jitter: Whether u is random; False cuts the sequence at the multiples of T.

    Raises:
        ShapeError, DTypeError: No vector of integers.
        EmptyDataError: The sequence is shorter than one window (and, with jitter, 2 T − 1 tokens).
        ArgumentError: T < 1.

    Example:
        >>> torch.stack(list(Windows(torch.arange(7), 3, jitter=False)))
        tensor([[0, 1, 2],
                [3, 4, 5]])
    """

    def __init__(self, tokens: Tensor, length: int, *, jitter: bool = True) -> None:
        if length < 1:
            raise ArgumentError(program="Windows", site="length", got=length, expected="≥ 1")
        if tokens.dim() != 1:
            raise ShapeError(program="Windows", site="tokens", got=tuple(tokens.shape), expected="(M,)")
        if tokens.is_floating_point() or tokens.is_complex():
            raise DTypeError(program="Windows", site="tokens", got=tokens.dtype, expected="integers")
        least = 2 * length - 1 if jitter else length
        if tokens.shape[0] < least:
            raise EmptyDataError(
                program="Windows",
                site="tokens",
                got=f"{tokens.shape[0]} tokens",
                expected=f"at least {least} for windows of {length}",
                hint="a longer text, or a shorter length",
            )
        self.tokens, self.length, self.jitter = tokens, length, jitter

    def __len__(self) -> int:
        """Return the number of windows of an epoch."""
        m = self.tokens.shape[0] - (self.length - 1 if self.jitter else 0)
        return m // self.length

    def __getitem__(self, k: int) -> Tensor:
        """Return window k, shape (T,)."""
        if not 0 <= k < len(self):
            raise IndexError(k)
        u = int(torch.randint(self.length, ())) if self.jitter else 0
        return self.tokens[k * self.length + u : (k + 1) * self.length + u]
