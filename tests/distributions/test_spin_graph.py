from __future__ import annotations

import pytest

from unigen.distributions.spin_graph import check_edges, colour_blocks, grid_edges
from unigen.errors import ArgumentError

SHAPES = [(3, 4, False, 17), (4, 4, True, 32), (1, 5, False, 4), (2, 2, True, 4), (1, 3, True, 3)]


@pytest.mark.parametrize(("rows", "columns", "periodic", "count"), SHAPES)
def test_grids_have_the_edges_of_neighbours(rows, columns, periodic, count):
    edges = grid_edges(rows, columns, periodic)
    assert len(edges) == len(set(edges)) == count
    for a, b in edges:
        (i, j), (k, l) = divmod(a, columns), divmod(b, columns)
        apart = {(i - k) % rows, (k - i) % rows}, {(j - l) % columns, (l - j) % columns}
        if not periodic:
            apart = {abs(i - k)}, {abs(j - l)}
        assert min(apart[0]) + min(apart[1]) == 1


def test_blocks_hold_every_unit_once_and_no_edge():
    for edges, blocks in (
        (grid_edges(5, 5), 2),
        (grid_edges(3, 3, True), None),
        (check_edges(4, None), 4),
        ([], 1),
    ):
        units = 25 if blocks == 2 else 9 if blocks is None else 4
        found = colour_blocks(units, edges)
        assert sorted(i for block in found for i in block) == list(range(units))
        assert all(not (a in block and b in block) for block in found for a, b in edges)
        assert blocks is None or len(found) == blocks


def test_pairs_that_are_no_edges_are_refused():
    assert check_edges(3, [(2, 0), [1, 2]]) == [(0, 2), (1, 2)]
    for edges, match in (([(0, 3)], "units of 0"), ([(1, 1)], "two different"), ([(0, 1), (1, 0)], "twice")):
        with pytest.raises(ArgumentError, match=match):
            check_edges(3, edges)
    with pytest.raises(ArgumentError, match="features"):
        check_edges(0, None)
