"""Where the boxes of a graph go: few crossings, no overlaps, the same picture every time."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from unigen.errors import EmptyDataError

if TYPE_CHECKING:
    import networkx as nx

Point = tuple[float, float]
Size = tuple[float, float]


def crosses(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether the segments ab and cd cross in their interiors.

    Args:
        a: One end of the first.
        b: The other.
        c: One end of the second.
        d: The other.

    Returns:
        True if they cross.

    Example:
        >>> crosses((0, 0), (1, 1), (0, 1), (1, 0)), crosses((0, 0), (1, 1), (0, 0), (1, 0))
        (True, False)
    """

    def turn(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0


def crossings(lines: list[tuple[Point, Point]]) -> list[Point]:
    """List the points where segments cross.

    Args:
        lines: End points of each segment.

    Returns:
        One point for each pair that crosses.

    Example:
        >>> crossings([((0, 0), (2, 2)), ((0, 2), (2, 0))])
        [(1.0, 1.0)]
    """
    points = []
    for k, (a, b) in enumerate(lines):
        for c, d in lines[:k]:
            if crosses(a, b, c, d):
                r, s = (b[0] - a[0], b[1] - a[1]), (d[0] - c[0], d[1] - c[1])
                t = ((c[0] - a[0]) * s[1] - (c[1] - a[1]) * s[0]) / (r[0] * s[1] - r[1] * s[0])
                points.append((a[0] + t * r[0], a[1] + t * r[1]))
    return points


def free_spot(candidates: list[Point], size: Size, taken: list[tuple[Point, Size]]) -> Point:
    """Take the first place whose box meets the fewest boxes that are there already.

    Args:
        candidates: Centres, the best first.
        size: Width and height of the box to be placed.
        taken: Centres and sizes of the others.

    Returns:
        One of the candidates.
    """

    def collisions(p: Point) -> int:
        return sum(
            abs(p[0] - q[0]) < (size[0] + s[0]) / 2 and abs(p[1] - q[1]) < (size[1] + s[1]) / 2
            for q, s in taken
        )

    return min(candidates, key=collisions)


def hits(a: Point, b: Point, centre: Point, size: Size) -> bool:
    """Whether the segment ab passes through a box.

    Args:
        a: One end.
        b: The other.
        centre: Of the box.
        size: Width and height of the box.

    Returns:
        True if some point of the segment lies inside (slab method).
    """
    low, high = 0.0, 1.0
    for start, end, middle, extent in zip(a, b, centre, size, strict=True):
        step = end - start
        if abs(step) < 1e-12:
            if abs(start - middle) >= extent / 2:
                return False
            continue
        t = sorted(((middle - extent / 2 - start) / step, (middle + extent / 2 - start) / step))
        low, high = max(low, t[0]), min(high, t[1])
    return low < high


def separate(positions: np.ndarray, sizes: np.ndarray, bounds: Size, rounds: int = 200) -> np.ndarray:
    """Push overlapping boxes apart along the axis of least overlap, inside the page.

    Args:
        positions: Centres, shape (K, 2).
        sizes: Widths and heights with the margin wanted between boxes, shape (K, 2).
        bounds: Width and height of the page.
        rounds: At most so many sweeps.

    Returns:
        Centres, shape (K, 2).
    """
    positions = positions.copy()
    for _ in range(rounds):
        moved = False
        for i in range(len(positions)):
            for j in range(i):
                gap = positions[i] - positions[j]
                overlap = (sizes[i] + sizes[j]) / 2 - np.abs(gap)
                if (overlap > 1e-9).all():
                    axis = int(overlap.argmin())
                    shift = (overlap[axis] / 2 + 1e-6) * (1.0 if gap[axis] >= 0 else -1.0)
                    positions[i, axis] += shift
                    positions[j, axis] -= shift
                    moved = True
        positions = np.clip(positions, sizes / 2, np.array(bounds) - sizes / 2)
        if not moved:
            break
    return positions


def cost(positions: np.ndarray, edges: list[tuple[int, int]], sizes: np.ndarray, bounds: Size) -> float:
    """Count what makes a drawing hard to read: edges through boxes (3 each), crossings (1), overlaps (10), length.

    Args:
        positions: Centres, shape (K, 2).
        edges: Pairs of node numbers.
        sizes: Of the boxes, shape (K, 2).
        bounds: Width and height of the page.

    Returns:
        The cost.
    """
    at = [(float(x), float(y)) for x, y in positions]
    ends = [(at[i], at[j], {i, j}) for i, j in edges]
    total = 0.0
    for k, (a, b, nodes) in enumerate(ends):
        total += math.dist(a, b) / math.hypot(*bounds)
        total += sum(crosses(a, b, c, d) for c, d, _ in ends[:k])
        total += 3 * sum(
            hits(a, b, at[n], (float(sizes[n, 0]), float(sizes[n, 1])))
            for n in range(len(at))
            if n not in nodes
        )
    for i in range(len(at)):
        total += 10 * int(
            (np.abs(positions[:i] - positions[i]) < (sizes[:i] + sizes[i]) / 2 - 1e-6).all(axis=1).sum()
        )
    return total


def place(
    graph: nx.Graph, sizes: Mapping[Hashable, Size], bounds: Size, margin: float = 0.25, tries: int = 40
) -> dict[Hashable, Point]:
    """Lay out a graph of boxes: Kamada–Kawai from several starts, overlaps removed, the most readable kept.

    Args:
        graph: The graph; its parts need not be connected.
        sizes: Width and height of each node's box.
        bounds: Width and height of the page, in the same unit.
        margin: Least distance between boxes.
        tries: Number of starts, numbered seeds.

    Returns:
        The centre of each box.

    Raises:
        EmptyDataError: If there are no nodes.

    References:
        Kamada & Kawai, An algorithm for drawing general undirected graphs, 1989.
    """
    import networkx as nx

    nodes = list(graph.nodes)
    if not nodes:
        raise EmptyDataError(site="graph", got="no nodes", expected="at least one")
    simple = nx.Graph()
    simple.add_nodes_from(nodes)
    simple.add_edges_from((a, b) for a, b in graph.edges() if a != b)
    edges = [(nodes.index(a), nodes.index(b)) for a, b in simple.edges]
    parts = [
        max(part, key=lambda n: (simple.degree[n], -nodes.index(n)))
        for part in nx.connected_components(simple)
    ]
    simple.add_edges_from((parts[0], other) for other in parts[1:])
    page, box = np.array(bounds), np.array([sizes[n] for n in nodes]) + margin
    best, least = np.tile(page / 2, (len(nodes), 1)), math.inf
    for seed in range(tries if len(nodes) > 1 else 0):
        start = dict(zip(nodes, np.random.default_rng(seed).uniform(-1, 1, (len(nodes), 2)), strict=True))
        found = nx.kamada_kawai_layout(simple, pos=start)
        positions = np.array([found[n] for n in nodes])
        span = np.maximum(np.ptp(positions, axis=0), 1e-9)
        positions = (positions - positions.min(0)) / span * (page - box.max(0)) + box.max(0) / 2
        positions = separate(positions, box, bounds)
        value = cost(positions, edges, box - margin / 2, bounds)
        if value < least:
            best, least = positions, value
    return {n: (float(x), float(y)) for n, (x, y) in zip(nodes, best, strict=True)}
