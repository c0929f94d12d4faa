"""Orders in which D features may be drawn: permutations, checked; random ones; scans of an image.

Notation: an order lists the features, first drawn first; the rank of a feature is its position in the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from unigen.errors import ArgumentError

Order = tuple[int, ...]


def check_orders(orders: int | Sequence[Sequence[int]], features: int) -> tuple[Order, ...]:
    """Return M ≥ 1 orders of D features.

    A number M asks for the ascending order, the descending one, and M − 2 random ones from a generator of seed 0, so
    that the same number always gives the same orders.

    Args:
        orders: M, or the orders themselves.
        features: D.

    Raises:
        ArgumentError: M < 1, no order, one that is no permutation of 0 … D−1, or two that are the same.

    Example:
        >>> check_orders(2, 3)
        ((0, 1, 2), (2, 1, 0))
    """
    if isinstance(orders, bool) or (isinstance(orders, int) and orders < 1):
        raise ArgumentError(site="orders", got=orders, expected="a positive integer, or permutations")
    if isinstance(orders, int):
        ascending = tuple(range(features))
        generator = torch.Generator().manual_seed(0)
        drawn = (torch.randperm(features, generator=generator).tolist() for _ in range(orders - 2))
        return (ascending, ascending[::-1], *(tuple(order) for order in drawn))[:orders]
    found = tuple(tuple(int(i) for i in order) for order in orders)
    if not found:
        raise ArgumentError(site="orders", got="no order", expected="at least one permutation")
    for number, order in enumerate(found):
        if sorted(order) != list(range(features)):
            got = f"{len(order)} entries: {order[:8]}" + (" …" if len(order) > 8 else "")
            raise ArgumentError(
                f"order {number} is no permutation", site="orders", got=got, expected=f"each of 0 … {features - 1} once"
            )  # fmt: skip
    for (a, first), (b, second) in pairwise(sorted(zip(found, range(len(found)), strict=True))):
        if a == b:
            raise ArgumentError(f"the orders {first} and {second} are the same", site="orders", got=a[:8])
    return found


def ranks_of(orders: Sequence[Order]) -> Tensor:
    """Return the position of every feature in every order, shape (M, D).

    Example:
        >>> ranks_of([(2, 0, 1)])
        tensor([[1, 2, 0]])
    """
    return torch.tensor(orders).argsort(dim=1)


def scan_orders(height: int, width: int, count: int = 8) -> tuple[Order, ...]:
    """Return scans of an image: along rows or columns, from each of the four corners.

    The first is the raster scan, the second its reverse, the third and fourth run along the columns; neighbours on
    the image are then neighbours in time, which random orders do not offer.

    Args:
        height: Rows of the image, flattened in C order.
        width: Columns.
        count: How many of the eight, at most.

    Raises:
        ArgumentError: A size below one, or ``count`` outside 1 … 8.

    Example:
        >>> scan_orders(2, 2, 3)
        ((0, 1, 2, 3), (3, 2, 1, 0), (0, 2, 1, 3))
    """
    if min(height, width) < 1 or not 1 <= count <= 8:
        raise ArgumentError(
            site="height, width, count", got=(height, width, count), expected="sizes ≥ 1 and 1 ≤ count ≤ 8"
        )
    grid = torch.arange(height * width).reshape(height, width)
    scans = [
        turned
        for flip in (grid, grid.flip(1))
        for turned in (flip, flip.flip(0, 1), flip.T, flip.T.flip(0, 1))
    ]
    return tuple(tuple(scan.flatten().tolist()) for scan in scans)[:count]
