"""Where the boxes of a graph go on a grid: neighbours side by side, few lines through boxes, always the same."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np

from unigen.errors import EmptyDataError

if TYPE_CHECKING:
    import networkx as nx

Cell = tuple[int, int]  # column, row
STARTS = 12
BOX = (0.8, 0.7)  # share of a cell that its box may take
THROUGH, CROSSING, SINK = (
    4.0,
    1.5,
    0.02,
)  # costs of a line through a box, of two lines that cross, of a loner high up


def grid_layout(graph: nx.Graph, columns: int, spare: float = 0.15) -> dict[Hashable, Cell]:
    """Put each node of a graph into a cell of its own: by exchanges that lower the cost, from several starts.

    Args:
        graph: The graph; loops and parallel edges make no difference.
        columns: Of the grid.
        spare: Share of cells that stay empty, which lets lines be short.

    Returns:
        Column and row of each node, both from 0, without empty rows or columns at the border.

    Raises:
        EmptyDataError: If there are no nodes.

    Example:
        >>> import networkx as nx
        >>> cells = grid_layout(nx.path_graph(3), columns=3)
        >>> len(set(cells.values()))
        3
    """
    nodes = list(graph.nodes)
    if not nodes:
        raise EmptyDataError(site="graph", got="no nodes", expected="at least one")
    columns = min(columns, len(nodes))
    rows = math.ceil(len(nodes) * (1 + spare) / columns)
    number = {node: i for i, node in enumerate(nodes)}
    pairs = sorted({tuple(sorted((number[a], number[b]))) for a, b in graph.edges() if a != b})
    problem = _Problem(len(nodes), np.array(pairs, dtype=int).reshape(-1, 2), columns, rows)
    best = min((problem.descend(seed) for seed in range(STARTS)), key=problem.cost)
    cells = np.stack([best % columns, best // columns], axis=1)
    cells -= cells.min(0)
    return {node: (int(x), int(y)) for node, (x, y) in zip(nodes, cells, strict=True)}


class _Problem:
    """The cost of placing nodes in cells, and the search for a cheap placing."""

    def __init__(self, count: int, edges: np.ndarray, columns: int, rows: int) -> None:
        self.count, self.edges, self.cells, self.rows = count, edges, columns * rows, rows
        at = np.arange(self.cells)
        self.points = np.stack([at % columns, at // columns], axis=1).astype(float)
        self.lengths = np.linalg.norm(self.points[:, None] - self.points[None], axis=-1)
        self.through = _through(self.points)
        self.loners = np.setdiff1d(np.arange(count), edges)
        self.pairs = np.array(
            [(i, j) for i in range(len(edges)) for j in range(i) if not set(edges[i]) & set(edges[j])],
            dtype=int,
        ).reshape(-1, 2)

    def cost(self, placing: np.ndarray) -> float:
        """Return length, lines through boxes, crossings, and how high the nodes without edges stand."""
        a, b = placing[self.edges[:, 0]], placing[self.edges[:, 1]]
        total = float(self.lengths[a, b].sum()) + THROUGH * float(self.through[a, b][:, placing].sum())
        p, q = self.points[a], self.points[b]
        i, j = self.pairs[:, 0], self.pairs[:, 1]
        apart = _turn(p[i], q[i], p[j]) * _turn(p[i], q[i], q[j]) < 0
        total += CROSSING * float((apart & (_turn(p[j], q[j], p[i]) * _turn(p[j], q[j], q[i]) < 0)).sum())
        return total + SINK * float((self.rows - self.points[placing[self.loners], 1]).sum())

    def descend(self, seed: int) -> np.ndarray:
        """Exchange the contents of two cells as long as that lowers the cost; return the cell of each node."""
        content = np.random.default_rng(seed).permutation(self.cells)  # numbers from count on are empty cells
        least = self.cost(np.argsort(content)[: self.count])
        improved = True
        while improved:
            improved = False
            for i in range(self.cells):
                for j in range(i):
                    if min(content[i], content[j]) >= self.count:
                        continue
                    content[[i, j]] = content[[j, i]]
                    value = self.cost(np.argsort(content)[: self.count])
                    if value < least - 1e-9:
                        least, improved = value, True
                    else:
                        content[[i, j]] = content[[j, i]]
        return np.argsort(content)[: self.count]


def _turn(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Return on which side of the line pq each r lies."""
    return (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0])


def _through(points: np.ndarray) -> np.ndarray:
    """Return for cells a, b, c whether the line ab passes through the box in c, which is neither (slab method)."""
    start, step = points[:, None, None], points[None, :, None] - points[:, None, None]
    half, low, high = np.array(BOX) / 2, 0.0, 1.0
    middle = points[None, None] - start
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(middle - half) / step, (middle + half) / step])
    still = np.broadcast_to(step == 0, ends.shape[1:])
    inside = np.abs(middle) < half
    first = np.where(still, np.where(inside, -np.inf, np.inf), ends.min(0)).max(-1)
    last = np.where(still, np.where(inside, np.inf, -np.inf), ends.max(0)).min(-1)
    passes = np.maximum(first, low) < np.minimum(last, high)
    same = np.arange(len(points))
    passes[same, :, same] = False
    passes[:, same, same] = False
    return passes
