"""The atlas: families as boxes, the relations between them as labelled lines."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from unigen.errors import ArgumentError
from unigen.plots.arcs import Edge, along, bends
from unigen.plots.layout import Point, Size, crossings, free_spot, place
from unigen.plots.style import COLOURS, GREY, INK, bare, figure, style

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONT = 9.0  # points
KEY_WIDTH, LINE, GAP = 3.6, 0.13, 0.055  # of the list, in inches
COLUMNS = 56  # characters of a line of the list


def _box(text: str, font: float = FONT) -> Size:
    """Estimate width and height in inches of a line of text with padding."""
    return 0.0068 * font * len(text) + 0.16, 0.016 * font + 0.08


def _draw_nodes(
    axes: Axes, graph: nx.Graph, positions: dict[Hashable, Point], highlight: set[Hashable]
) -> None:
    """Write each family in a rounded box; highlighted ones are filled."""
    for node in graph.nodes:
        chosen = node in highlight
        axes.text(
            *positions[node],
            str(node),
            ha="center",
            va="center",
            fontsize=FONT,
            color="white" if chosen else INK,
            zorder=4,
            bbox={
                "boxstyle": "round,pad=0.35",
                "facecolor": COLOURS[0] if chosen else "white",
                "edgecolor": COLOURS[0],
                "linewidth": 1.0,
            },
        )


def _shrink(a: Point, b: Point, bend: float, size: Size) -> float:
    """Distance, in points, from b's centre to where the curve from a enters b's box."""
    curve = [along(a, b, bend, i / 200) for i in range(200)]
    tip = next((p for p in curve if _inside(p, b, size)), b)
    return 72 * math.dist(tip, b)


def _inside(p: Point, centre: Point, size: Size) -> bool:
    """Whether a point lies in a box."""
    return abs(p[0] - centre[0]) <= size[0] / 2 and abs(p[1] - centre[1]) <= size[1] / 2


def _inks(graph: nx.Graph) -> list[str]:
    """Choose the colour of each edge: green where ``holds`` is true, orange where false, grey where unknown."""
    held = [data.get("holds") for *_, data in graph.edges(data=True)]
    return [GREY if h is None else COLOURS[2] if h else COLOURS[1] for h in held]


def _draw_edges(
    axes: Axes, edges: list[Edge], positions: dict[Hashable, Point], directed: bool, inks: list[str]
) -> None:
    """Draw a line for each edge, an arc where edges are parallel; loops have none."""
    from matplotlib.patches import FancyArrowPatch

    for (a, b, _), bend, ink in zip(edges, bends(edges), inks, strict=True):
        if a == b:
            continue
        start, end = positions[a], positions[b]
        axes.add_patch(
            FancyArrowPatch(
                start,
                end,
                connectionstyle=f"arc3,rad={bend}",
                arrowstyle="-|>" if directed else "-",
                mutation_scale=8,
                shrinkA=0,
                shrinkB=_shrink(start, end, bend, _box(str(b))) if directed else 0,
                color=ink,
                linewidth=0.8 if ink == GREY else 1.3,
                zorder=1,
            )
        )


def _draw_marks(axes: Axes, edges: list[Edge], positions: dict[Hashable, Point], inks: list[str]) -> None:
    """Write each mark on its line where it meets nothing else; a loop's mark stands at its box's corner."""
    lines = [(positions[a], positions[b]) for a, b, _ in edges]
    taken = [(point, (0.05, 0.05)) for point in crossings(lines)]
    taken += [(position, _box(str(n))) for n, position in positions.items()]
    loops = dict.fromkeys(positions, 0)
    for (a, b, mark), bend, ink in zip(edges, bends(edges), inks, strict=True):
        size = (0.2, 0.2) if mark.isdigit() else _box(mark, 7.0)
        if a == b:
            width, height = _box(str(a))
            x, y = positions[a]
            spot = (x + width / 2 - 0.06 - (size[0] + 0.02) * loops[a], y + height / 2 + size[1] / 2 - 0.06)
            loops[a] += 1
        else:
            steps = (0.5, 0.44, 0.56, 0.38, 0.62, 0.32, 0.68, 0.26, 0.74, 0.2, 0.8)
            spot = free_spot([along(positions[a], positions[b], bend, t) for t in steps], size, taken)
        if mark:
            taken.append((spot, size))
            _draw_mark(axes, spot, mark, ink)


def _draw_mark(axes: Axes, spot: Point, mark: str, ink: str) -> None:
    """Write a relation's number in a disc, or its words on paper."""
    digit = mark.isdigit()
    axes.text(
        *spot,
        mark,
        ha="center",
        va="center",
        fontsize=6.5 if digit else 7.0,
        color=INK,
        zorder=5 if digit else 3,
        bbox={
            "boxstyle": "circle,pad=0.25" if digit else "round,pad=0.15",
            "facecolor": "#F3E2C0" if digit else "white",
            "edgecolor": "none" if ink == GREY else ink,
            "linewidth": 1.2,
        },
    )


def _draw_key(axes: Axes, key: dict[str, str], left: float, height: float) -> None:
    """List marks and what they stand for at the right of the map, from the top."""
    y = height - 0.3
    for mark, text in key.items():
        for i, line in enumerate(textwrap.wrap(text, COLUMNS) or [""]):
            if i == 0:
                axes.text(left + 0.22, y, mark, ha="right", va="baseline", fontsize=7.5, color=GREY)
            axes.text(left + 0.32, y, line, va="baseline", fontsize=7.5)
            y -= LINE
        y -= GAP


def _marks_and_key(
    graph: nx.Graph, label: str, key: str | None, numbered: bool | None
) -> tuple[list[Edge], dict[str, str]]:
    """Decide what is written on each edge, and what the key explains."""
    edges = [(a, b, str(data.get(label, ""))) for a, b, data in graph.edges(data=True)]
    if key is not None:
        pairs = {str(data.get(label, "")): str(data.get(key, "")) for *_, data in graph.edges(data=True)}
        order = sorted(pairs, key=lambda mark: (not mark.isdigit(), int(mark) if mark.isdigit() else 0, mark))
        return edges, {mark: pairs[mark] for mark in order if mark}
    texts = list(dict.fromkeys(text for *_, text in edges if text))
    if numbered is None:
        numbered = not all(t.isdigit() for t in texts) and (
            len(edges) > 10 or any(len(t) > 24 for t in texts)
        )
    if not numbered:
        return edges, {}
    numbers = {text: str(i + 1) for i, text in enumerate(texts)}
    return [(a, b, numbers.get(text, "")) for a, b, text in edges], {n: text for text, n in numbers.items()}


def draw_atlas(
    graph: nx.Graph,
    label: str = "label",
    key: str | None = None,
    numbered: bool | None = None,
    highlight: Sequence[Hashable] = (),
    title: str = "",
    size: tuple[float, float] | None = None,
) -> Figure:
    """Draw a graph of families with labelled relations.

    Args:
        graph: Families as nodes, relations as edges; parallel edges (``MultiGraph``), loops and directions are drawn.
            An edge attribute ``holds`` (a verdict, as of ``atlas(verify=True)``) colours it: green true, orange false.
        label: Name of the edge attribute that is written on the edge, such as a theorem's number.
        key: Name of the edge attribute that explains the label in a list at the right, such as its statement.
        numbered: Without a key: whether labels are replaced by numbers and explained in the list, equal labels by
            equal numbers; None does so where words would not fit (over ten edges, or over 24 characters).
        highlight: Families drawn filled.
        title: Above the map.
        size: Width and height of the map in inches, without the list; grows with the number of families when None.

    Returns:
        A figure with one axes, whose data unit is the inch.

    Raises:
        EmptyDataError: If there are no nodes.
        ArgumentError: If a highlighted family is not in the graph.

    Example:
        >>> import networkx as nx
        >>> graph = nx.Graph()
        >>> graph.add_edge("PPCA", "VAE", label="tight bound")
        >>> len(draw_atlas(graph).axes)
        1
    """
    unknown = set(highlight) - set(graph.nodes)
    if unknown:
        raise ArgumentError(site="highlight", got=sorted(map(str, unknown)), expected="families of the graph")
    edges, entries = _marks_and_key(graph, label, key, numbered)
    root = math.sqrt(max(graph.number_of_nodes(), 4))
    words = max((_box(mark, 7.0)[0] for *_, mark in edges if not mark.isdigit()), default=0.0)
    lines = sum(GAP + LINE * max(len(textwrap.wrap(text, COLUMNS)), 1) for text in entries.values()) + 0.4
    width, height = size or (1.0 + (1.7 + 0.4 * words) * root, max(0.6 + 1.2 * root, lines))
    boxes = {n: _box(str(n)) for n in graph.nodes}
    positions = place(graph, boxes, (width, height), margin=0.25 + 0.4 * words)
    full, head = width + (KEY_WIDTH if entries else 0.0), 0.35 if title else 0.0
    with style():
        fig = figure(full, height + head)
        fig.set_layout_engine("none")
        axes: Any = bare(fig.add_axes((0.0, 0.0, 1.0, height / (height + head))))
        axes.set(xlim=(0, full), ylim=(0, height))
        fig.text(0.1 / full, 1 - 0.2 / (height + head), title, fontsize=10, va="center")
        inks = _inks(graph)
        _draw_edges(axes, edges, positions, graph.is_directed(), inks)
        _draw_nodes(axes, graph, positions, set(highlight))
        _draw_marks(axes, edges, positions, inks)
        _draw_key(axes, entries, width, height)
    return fig
