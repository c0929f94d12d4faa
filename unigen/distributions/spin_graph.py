"""Graphs of spins: their edges checked, grids, and blocks of units that do not touch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from unigen.errors import ArgumentError


def check_edges(
    units: int, edges: Sequence[Sequence[int]] | None, program: str = "Ising"
) -> list[tuple[int, int]]:
    """Return the edges as pairs i < j, each once; all pairs if None.

    Args:
        units: Number of units n.
        edges: Pairs of units.
        program: Name used in messages.

    Raises:
        ArgumentError: n < 1, a pair that is no edge, or an edge twice.
    """
    if isinstance(units, bool) or not isinstance(units, int) or units < 1:
        raise ArgumentError(program=program, site="features", got=units, expected="a positive integer")
    if edges is None:
        return list(itertools.combinations(range(units), 2))
    pairs = []
    for edge in edges:
        pair = sorted(int(i) for i in edge)
        if len(pair) != 2 or not 0 <= pair[0] < pair[1] < units:
            raise ArgumentError(
                program=program,
                site="edges",
                got=tuple(edge),
                expected=f"two different units of 0 … {units - 1}",
            )
        pairs.append((pair[0], pair[1]))
    if len(set(pairs)) < len(pairs):
        raise ArgumentError(
            program=program, site="edges", got="an edge twice", expected="each pair of units once"
        )
    return pairs


def grid_edges(rows: int, columns: int, periodic: bool = False) -> list[tuple[int, int]]:
    """Return the edges of a grid whose units are counted row by row, each joined to its neighbours.

    Example:
        >>> grid_edges(2, 2)
        [(0, 1), (0, 2), (1, 3), (2, 3)]
    """
    edges = set()
    for i, j in itertools.product(range(rows), range(columns)):
        for k, l in ((i + 1, j), (i, j + 1)):
            if periodic or (k < rows and l < columns):
                a, b = i * columns + j, k % rows * columns + l % columns
                edges |= {(min(a, b), max(a, b))} if a != b else set()
    return sorted(edges)


def colour_blocks(units: int, edges: Iterable[Sequence[int]]) -> list[list[int]]:
    """Return the units in blocks without a coupling inside, two blocks where the graph is bipartite.

    Args:
        units: n.
        edges: Pairs of units with a coupling.

    Example:
        >>> colour_blocks(4, [(0, 1), (1, 2), (2, 3)])
        [[0, 2], [1, 3]]
    """
    import networkx

    graph = networkx.Graph()
    graph.add_nodes_from(range(units))
    graph.add_edges_from((int(a), int(b)) for a, b in edges)
    colours = networkx.greedy_color(graph, strategy="connected_sequential_bfs")
    return [[i for i in range(units) if colours[i] == colour] for colour in range(max(colours.values()) + 1)]
