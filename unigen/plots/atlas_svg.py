"""The atlas as SVG for a page: families as boxes, theorems as numbered lines, each a link to its section of the page.

Colours and fonts are the page's: the drawing names classes (``node``, ``line``, ``badge``; ``holds``, ``fails``,
``unknown``) and no colours. A theorem about one family has its number inside that family's box. One that fails has a
diamond for a badge, the others a disc, so that no verdict is told by colour alone.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unigen.plots.arcs import Edge, along, bends
from unigen.plots.grid import grid_layout
from unigen.plots.layout import Point, Size, crossings, free_spot

if TYPE_CHECKING:
    import networkx as nx

LETTER, LINE = 7.6, 16.0  # of a family's name at 13 pixels: width of a letter, height of a line
PADDING, BETWEEN = 8.0, 32.0  # inside a box; between two boxes, where a badge must fit
BADGE = 24.0  # room a badge takes
STEPS = (0.5, 0.46, 0.54, 0.42, 0.58, 0.38, 0.62, 0.34, 0.66, 0.3, 0.7)  # places on a line, the best first
VERDICTS: dict[bool | None, tuple[str, str]] = {
    True: ("holds", "holds"),
    False: ("fails", "FAILS"),
    None: ("unknown", "not checked"),
}


@dataclass(frozen=True)
class _Box:
    """A family: its name in lines, the numbers of its own theorems in rows, where it stands and how large it is."""

    lines: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    centre: Point
    size: Size

    def top(self) -> Point:
        """Return its upper left corner."""
        return self.centre[0] - self.size[0] / 2, self.centre[1] - self.size[1] / 2

    def spot(self, mark: str) -> Point:
        """Return where the badge of one of its own theorems stands."""
        row = next(i for i, each in enumerate(self.rows) if mark in each)
        column = self.rows[row].index(mark)
        below = self.top()[1] + PADDING + LINE * len(self.lines)
        return self.centre[0] + BADGE * (column - (len(self.rows[row]) - 1) / 2), below + BADGE * (row + 0.5)


def atlas_svg(graph: nx.MultiGraph, columns: int = 4, cell: Size = (166.0, 108.0)) -> str:
    """Draw a graph of families on a grid; the same graph gives the same drawing.

    Args:
        graph: Families as nodes. An edge with ``id``, ``name`` and ``holds`` (True, False, or None where not checked)
            is a theorem, a loop one about a single family; one without ``id`` joins a special case to its family.
        columns: Of the grid.
        cell: Width and height of a family with the room around it, in pixels.

    Returns:
        An ``<svg>`` whose nodes link to ``#family-NAME`` and whose edges link to ``#relation-ID``.

    Raises:
        EmptyDataError: If there are no nodes.

    Example:
        >>> import networkx as nx
        >>> graph = nx.MultiGraph()
        >>> graph.add_edge("PPCA", "VAE", id=1, name="PPCA – linear VAE", holds=True)
        0
        >>> 'href="#relation-1"' in atlas_svg(graph)
        True
    """
    cells = grid_layout(graph, columns)
    edges = [(a, b, str(data.get("id", ""))) for a, b, data in graph.edges(data=True)]
    facts = [data for _, _, data in graph.edges(data=True)]
    boxes = {node: _box(node, at, edges, cell) for node, at in cells.items()}
    arcs = [_arc(edge, bend, boxes) for edge, bend in zip(edges, bends(edges), strict=True)]
    spots = _spots(edges, arcs, boxes)
    lines = "".join(_line(*each, boxes) for each in zip(edges, arcs, facts, strict=True))
    badges, drawn = "", set()
    for number, spot, each in sorted(
        (each["id"], spot, each) for each, spot in zip(facts, spots, strict=True) if spot is not None
    ):
        badges += _badge(spot, each, again=number in drawn)
        drawn.add(number)
    nodes = "".join(_node(str(n), box) for n, box in boxes.items())
    width, height = (cell[i] * (1 + max(at[i] for at in cells.values())) for i in (0, 1))
    return (
        f'<svg class="map" viewBox="0 0 {width:g} {height:g}" style="max-width:{1.25 * width:g}px" role="group" '
        f'aria-label="Families and the theorems that link them">{lines}{nodes}{badges}</svg>'
    )


def _box(node: Hashable, at: tuple[int, int], edges: list[Edge], cell: Size) -> _Box:
    """Lay out a family's box in the middle of its cell."""
    own = [mark for a, b, mark in edges if a == b == node]
    most = cell[0] - BETWEEN
    each = max(1, int((most - PADDING) // BADGE))
    rows = tuple(tuple(own[i : i + each]) for i in range(0, len(own), each))
    lines = (str(node),)
    if LETTER * len(lines[0]) + 2 * PADDING > most:
        lines = _halves(lines[0])
    width = max(
        [LETTER * len(line) + 2 * PADDING for line in lines] + [BADGE * len(row) + PADDING for row in rows]
    )
    height = LINE * len(lines) + 1.5 * PADDING + BADGE * len(rows)
    return _Box(lines, rows, (cell[0] * (at[0] + 0.5), cell[1] * (at[1] + 0.5)), (width, height))


def _halves(name: str) -> tuple[str, ...]:
    """Break a name before the capital letter that is nearest to its middle."""
    places = [found.start() for found in re.finditer(r"(?<=[a-z])(?=[A-Z])", name)]
    if not places:
        return (name,)
    place = min(places, key=lambda i: abs(i - len(name) / 2))
    return name[:place], name[place:]


def _arc(edge: Edge, bend: float, boxes: dict[Hashable, _Box]) -> tuple[Point, Point, float]:
    """Return the ends of an edge's curve and its bend, larger where the ends are near, so that two badges fit."""
    start, end = boxes[edge[0]].centre, boxes[edge[1]].centre
    return start, end, bend * max(1.0, 130.0 / max(math.dist(start, end), 1.0))


def _spots(
    edges: list[Edge], arcs: list[tuple[Point, Point, float]], boxes: dict[Hashable, _Box]
) -> list[Point | None]:
    """Return where each edge's badge stands: in its box, or on its line clear of all else; None without a number."""
    taken = [(point, (4.0, 4.0)) for point in crossings([arc[:2] for arc in arcs])]
    taken += [(box.centre, box.size) for box in boxes.values()]
    spots: list[Point | None] = []
    for (a, b, mark), arc in zip(edges, arcs, strict=True):
        if not mark:
            spots.append(None)
        elif a == b:
            spots.append(boxes[a].spot(mark))
        else:
            spot = free_spot([along(*arc, t) for t in STEPS], (BADGE, BADGE), taken)
            taken.append((spot, (BADGE, BADGE)))
            spots.append(spot)
    return spots


def _line(
    edge: Edge, arc: tuple[Point, Point, float], facts: dict[str, Any], boxes: dict[Hashable, _Box]
) -> str:
    """Draw an edge between two families, with a wide invisible line under it to click on."""
    a, b, mark = edge
    if a == b:
        return ""
    (x0, y0), (x1, y1), bend = arc
    x, y = (x0 + x1) / 2 + bend * (y1 - y0), (y0 + y1) / 2 - bend * (x1 - x0)
    path = f"M{x0:.1f} {y0:.1f}Q{x:.1f} {y:.1f} {x1:.1f} {y1:.1f}"
    if not mark:
        return (
            f'<path class="line special" d="{path}"><title>one is a special case of the other</title></path>'
        )
    return (
        f'<a href="#relation-{mark}" data-id="{mark}" tabindex="-1" aria-hidden="true" '
        f'class="edge {VERDICTS[facts.get("holds")][0]}"><path class="hit" d="{path}"/>'
        f'<path class="line" d="{path}"/></a>'
    )


def _node(name: str, box: _Box) -> str:
    """Draw a family."""
    (x, y), (width, height), text = box.top(), box.size, html.escape(name, quote=True)
    lines = "".join(
        f'<text x="{box.centre[0]:.1f}" y="{y + PADDING + LINE * (i + 0.75):.1f}">{html.escape(line)}</text>'
        for i, line in enumerate(box.lines)
    )
    return (
        f'<a href="#family-{text}" data-family="{text}" class="node" aria-label="{text}"><rect x="{x:.1f}" '
        f'y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="8"/>{lines}</a>'
    )


def _badge(spot: Point, facts: dict[str, Any], again: bool) -> str:
    """Draw a theorem's number in a disc, or in a diamond where it fails; the keyboard stops at its first badge."""
    kind, verdict = VERDICTS[facts.get("holds")]
    (x, y), number = spot, facts["id"]
    label = html.escape(f"{number}. {facts.get('name', '')}: {verdict}", quote=True)
    stop = ' tabindex="-1"' if again else ""
    shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="10.5"/>'
    if kind == "fails":
        shape = f'<path d="M{x:.1f} {y - 14:.1f}l14 14l-14 14l-14 -14z"/>'
    return (
        f'<a href="#relation-{number}" data-id="{number}" class="badge {kind}" aria-label="{label}"'
        f"{stop}><title>{label}</title>{shape}"
        f'<text x="{x:.1f}" y="{y + 4:.1f}">{number}</text></a>'
    )
