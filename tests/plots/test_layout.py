from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from unigen.errors import EmptyDataError
from unigen.plots.layout import cost, crosses, crossings, free_spot, hits, place, separate

BOX = (0.8, 0.3)


def lay(graph: nx.Graph, bounds: tuple[float, float] = (6.0, 5.0)) -> dict:
    return place(graph, dict.fromkeys(graph.nodes, BOX), bounds)


def count_crossings(graph: nx.Graph, positions: dict) -> int:
    return len(crossings([(positions[a], positions[b]) for a, b in graph.edges]))


def test_segments_cross_when_a_dense_walk_along_them_meets() -> None:
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, 200)[:, None]
    for _ in range(100):
        a, b, c, d = rng.uniform(size=(4, 2))
        first, second = a + t * (b - a), c + t * (d - c)
        closest = np.linalg.norm(first[:, None] - second[None], axis=-1).min()
        if crosses(a, b, c, d):
            assert closest < 0.02
            (point,) = crossings([(a, b), (c, d)])
            assert np.linalg.norm(first - point, axis=1).min() < 0.02
            assert np.linalg.norm(second - point, axis=1).min() < 0.02
        else:
            assert closest > 0
            assert crossings([(a, b), (c, d)]) == []


def test_segments_hit_boxes_when_a_dense_walk_along_them_enters() -> None:
    rng = np.random.default_rng(1)
    t = np.linspace(0, 1, 2000)[:, None]
    for _ in range(300):
        a, b, centre = rng.uniform(size=(3, 2))
        size = rng.uniform(0.1, 0.5, size=2)
        inside = (np.abs(a + t * (b - a) - centre) < size / 2).all(1)
        if inside.sum() > 1 or not inside.any():
            grown, shrunk = hits(a, b, centre, size * 1.02), hits(a, b, centre, size * 0.98)
            assert grown or not inside.any()
            assert not shrunk or inside.any()
    assert hits((0.5, -1), (0.5, 1), (0.5, 0), (0.2, 0.2))
    assert not hits((0.7, -1), (0.7, 1), (0.5, 0), (0.2, 0.2))


@pytest.mark.parametrize(
    "graph", [nx.path_graph(5), nx.cycle_graph(8), nx.star_graph(7), nx.balanced_tree(2, 3)], ids=str
)
def test_planar_graphs_are_drawn_without_crossings_or_overlaps(graph) -> None:
    positions = lay(graph)
    assert count_crossings(graph, positions) == 0
    points = np.array(list(positions.values()))
    for i in range(len(points)):
        assert BOX[0] / 2 <= points[i, 0] <= 6 - BOX[0] / 2
        assert BOX[1] / 2 <= points[i, 1] <= 5 - BOX[1] / 2
        assert (np.abs(points[:i] - points[i]) >= np.array(BOX)).any(axis=1).all()


def test_parts_that_are_not_connected_and_single_nodes_find_room() -> None:
    graph = nx.Graph([("a", "b"), ("c", "d")])
    graph.add_node("e")
    positions = lay(graph)
    assert len(set(positions.values())) == 5
    assert lay(nx.path_graph(1)) == {0: (3.0, 2.5)}
    with pytest.raises(EmptyDataError):
        lay(nx.Graph())


def test_the_same_graph_gives_the_same_picture() -> None:
    assert lay(nx.cycle_graph(6)) == lay(nx.cycle_graph(6))


def test_separate_moves_overlapping_boxes_apart_and_leaves_others() -> None:
    sizes = np.full((3, 2), 1.0)
    found = separate(np.array([[2.0, 2.0], [2.3, 2.0], [5.0, 5.0]]), sizes, (8.0, 8.0))
    np.testing.assert_allclose(found, [[1.65, 2.0], [2.65, 2.0], [5.0, 5.0]], atol=1e-5)


def test_cost_by_hand() -> None:
    positions = np.array([[0.0, 0.0], [4.0, 3.0], [0.0, 3.0], [4.0, 0.0]])
    sizes = np.full((4, 2), 0.5)
    assert cost(positions, [(0, 1), (2, 3)], sizes, (4.0, 3.0)) == pytest.approx(
        1 + 2
    )  # a crossing, two diagonals
    positions = np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0], [4.0, 0.2]])
    assert cost(positions, [(0, 2)], sizes, (4.0, 3.0)) == pytest.approx(3 + 3 + 10 + 0.8)  # through 1 and 3


def test_free_spot_avoids_what_is_there() -> None:
    taken = [((0.0, 0.0), (1.0, 1.0))]
    assert free_spot([(0.2, 0.0), (2.0, 0.0), (3.0, 0.0)], (0.5, 0.5), taken) == (2.0, 0.0)
    assert free_spot([(0.2, 0.0), (0.1, 0.0)], (0.5, 0.5), taken) == (0.2, 0.0)


def test_boxes_of_a_crowded_page_do_not_overlap() -> None:
    """Sixteen boxes fill a third of the page; without being pushed apart some overlap from every start."""
    graph = nx.star_graph(15)
    positions = np.array(list(lay(graph, (4.6, 3.0)).values()))
    for i in range(len(positions)):
        assert (np.abs(positions[:i] - positions[i]) >= np.array(BOX)).any(axis=1).all()


def test_the_most_readable_of_several_starts_is_kept() -> None:
    graph = nx.petersen_graph()
    edges, sizes = list(graph.edges), np.tile(BOX, (10, 1))
    first, best = (
        cost(
            np.array(list(place(graph, dict.fromkeys(graph, BOX), (6.0, 5.0), tries=tries).values())),
            edges,
            sizes,
            (6.0, 5.0),
        )
        for tries in (1, 40)
    )
    assert best < first - 1
