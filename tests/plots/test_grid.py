"""Boxes on a grid: one a cell, neighbours near; the cost against that of boxes, the search against all placings."""

from __future__ import annotations

import itertools
import math

import networkx as nx
import numpy as np
import pytest

from unigen.errors import EmptyDataError
from unigen.plots import grid
from unigen.plots.grid import grid_layout
from unigen.plots.layout import crosses, hits


def placed(graph: nx.Graph, columns: int) -> dict:
    cells = grid_layout(graph, columns)
    assert set(cells) == set(graph) and len(set(cells.values())) == len(cells)
    assert all(0 <= x < columns and y >= 0 for x, y in cells.values())
    assert min(x for x, _ in cells.values()) == min(y for _, y in cells.values()) == 0
    return cells


@pytest.mark.parametrize(("columns", "nodes"), [(1, 4), (3, 9), (4, 13), (5, 1)])
def test_a_path_is_laid_with_its_neighbours_side_by_side(columns, nodes):
    graph = nx.path_graph(nodes)
    cells = placed(graph, columns)
    assert sum(math.dist(cells[a], cells[b]) for a, b in graph.edges) < 1.5 * max(nodes - 1, 1)


def test_the_same_graph_gives_the_same_cells():
    graph = nx.petersen_graph()
    assert grid_layout(graph, 4) == grid_layout(nx.petersen_graph(), 4)


def test_a_small_graph_is_placed_as_well_as_any_placing():
    graph = nx.Graph([(0, 1), (1, 2), (2, 3), (3, 0), (1, 4)])
    problem = grid._Problem(5, np.array(sorted(graph.edges)), 3, 2)
    best = min(problem.cost(np.array(each)) for each in itertools.permutations(range(6), 5))
    found = min(problem.cost(problem.descend(seed)) for seed in range(grid.STARTS))
    assert found == pytest.approx(best)


def test_the_cost_counts_lines_through_boxes_and_crossings_as_the_layout_of_boxes_does():
    rng = np.random.default_rng(3)
    graph = nx.gnm_random_graph(9, 14, seed=3)
    edges = np.array(sorted(graph.edges))
    problem = grid._Problem(9, edges, 4, 3)
    for _ in range(20):
        placing = rng.permutation(12)[:9]
        at = [(float(cell % 4), float(cell // 4)) for cell in placing]
        through = sum(
            hits(at[a], at[b], at[c], grid.BOX) for a, b in edges for c in range(9) if c not in (a, b)
        )
        crossing = sum(
            crosses(at[a], at[b], at[c], at[d])
            for (a, b), (c, d) in itertools.combinations(edges.tolist(), 2)
            if not {a, b} & {c, d}
        )
        length = sum(math.dist(at[a], at[b]) for a, b in edges)
        alone = sum(3 - at[n][1] for n in graph if graph.degree[n] == 0)
        expected = length + grid.THROUGH * through + grid.CROSSING * crossing + grid.SINK * alone
        assert problem.cost(placing) == pytest.approx(expected)


def test_loops_and_parallel_edges_change_nothing():
    plain, rich = nx.path_graph(4), nx.MultiGraph(nx.path_graph(4))
    rich.add_edges_from([(0, 1), (2, 2)])
    assert grid_layout(plain, 2) == grid_layout(rich, 2)


def test_an_empty_graph_is_refused():
    with pytest.raises(EmptyDataError, match="no nodes"):
        grid_layout(nx.Graph(), 3)
