from __future__ import annotations

import pytest
import torch

from unigen.distributions.orders import check_orders, ranks_of, scan_orders
from unigen.errors import ArgumentError


def test_a_number_asks_for_both_directions_and_then_random_orders():
    orders = check_orders(5, 7)
    assert orders[:2] == ((0, 1, 2, 3, 4, 5, 6), (6, 5, 4, 3, 2, 1, 0)) and len(set(orders)) == 5
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert check_orders(5, 7) == orders and check_orders(3, 7) == orders[:3] and len(check_orders(1, 7)) == 1


def test_ranks_invert_orders():
    orders = check_orders(4, 9)
    for order, rank in zip(orders, ranks_of(orders), strict=True):
        assert torch.equal(rank[torch.tensor(order)], torch.arange(9))


def test_scans_are_the_eight_of_the_rectangle():
    height, width = 3, 4
    scans = scan_orders(height, width)
    assert len(set(scans)) == 8 and scans[0] == tuple(range(12)) and scans[1] == tuple(range(11, -1, -1))
    for scan in scans:
        assert sorted(scan) == list(range(12))
        cells = [divmod(i, width) for i in scan]
        steps = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(cells[:-1], cells[1:], strict=True)]
        within = [step for step in steps if 0 in step]
        assert len(set(within)) == 1 and abs(sum(within[0])) == 1  # along one line, one pixel at a time
        assert len(steps) - len(within) == (2 if within[0][0] == 0 else 3)  # a jump to each next line
    assert {scan[0] for scan in scans} == {0, 3, 8, 11}


@pytest.mark.parametrize(
    "orders", [0, -1, True, [], [(0, 1, 1)], [(0, 1)], [(0, 1, 3)], [(0, 1, 2), (2, 1, 0), (0, 1, 2)], [(0, 1, 2, 3)]]
)  # fmt: skip
def test_refusals(orders):
    with pytest.raises(ArgumentError):
        check_orders(orders, 3)


@pytest.mark.parametrize("arguments", [(0, 3), (3, 0), (2, 2, 0), (2, 2, 9)])
def test_scans_refuse(arguments):
    with pytest.raises(ArgumentError):
        scan_orders(*arguments)
