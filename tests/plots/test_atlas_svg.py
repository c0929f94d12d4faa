"""The atlas as SVG: well formed, everything linked, nothing on top of anything else, verdicts by shape."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree

import networkx as nx
import pytest

from unigen.errors import EmptyDataError
from unigen.plots.atlas_svg import BADGE, atlas_svg
from unigen.relations.atlas import atlas

LAYOUTS = [(4, (166.0, 108.0)), (3, (122.0, 118.0))]


def whole() -> nx.MultiGraph:
    graph = atlas()
    graph.remove_nodes_from([node for node in list(graph) if graph.degree[node] == 0])
    for *_, facts in graph.edges(data=True):
        facts["holds"] = facts["id"] != 13
    graph.add_edge("MAF", "Flow")
    return graph


def links(svg: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [each for each in svg.iter("a") if kind in (each.get("class") or "").split()]


def middle(badge: ElementTree.Element) -> tuple[float, float]:
    text = badge.find("text")
    assert text is not None
    return float(text.get("x", "")), float(text.get("y", "")) - 4


@pytest.mark.parametrize("layout", LAYOUTS, ids=["wide", "tall"])
def test_nothing_overlaps_and_all_lies_inside(layout):
    svg = ElementTree.fromstring(atlas_svg(whole(), *layout))
    _, _, width, height = map(float, svg.get("viewBox", "").split())
    boxes = []
    for node in links(svg, "node"):
        rect = node.find("rect")
        assert rect is not None
        x, y, w, h = (float(rect.get(name, "")) for name in ("x", "y", "width", "height"))
        assert x >= 0 and x + w <= width and y >= 0 and y + h <= height
        boxes.append((x, y, w, h))
    for (x, y, w, h), (p, q, v, u) in itertools.combinations(boxes, 2):
        assert x + w < p or p + v < x or y + h < q or q + u < y
    spots = [middle(badge) for badge in links(svg, "badge")]
    for (x, y), (p, q) in itertools.combinations(spots, 2):
        assert max(abs(x - p), abs(y - q)) >= BADGE - 1.5
    for x, y in spots:
        inside = [b for b in boxes if b[0] <= x <= b[0] + b[2] and b[1] <= y <= b[1] + b[3]]
        near = [
            b
            for b in boxes
            if b[0] - 8 < x < b[0] + b[2] + 8 and b[1] - 8 < y < b[1] + b[3] + 8 and b not in inside
        ]
        assert len(inside) <= 1 and not near


def test_every_family_and_every_relation_is_a_link_and_failing_ones_have_another_shape():
    graph = whole()
    svg = ElementTree.fromstring(atlas_svg(graph))
    assert {each.get("href") for each in links(svg, "node")} == {f"#family-{node}" for node in graph}
    ids = {facts["id"] for *_, facts in graph.edges(data=True) if facts}
    badges = links(svg, "badge")
    assert {each.get("href") for each in badges} == {f"#relation-{number}" for number in ids}
    for badge in badges:
        fails = badge.get("href") == "#relation-13"
        assert (badge.find("circle") is None) is fails and ("fails" in badge.get("class", "")) is fails
        assert badge.get("aria-label", "").endswith("FAILS" if fails else "holds")
    stops = [each.get("href") for each in badges if each.get("tabindex") is None]
    assert len(stops) == len(set(stops)) == len(ids)
    assert stops == sorted(stops, key=lambda href: int(href.rpartition("-")[2]))
    assert len([p for p in svg.iter("path") if p.get("class") == "line special"]) == 1


def test_names_are_escaped_and_long_ones_broken():
    graph = nx.MultiGraph()
    graph.add_edge('<b>"&', "GeneralisedHyperbolicMixture", id=7, name='a "b" <c>', holds=None)
    text = atlas_svg(graph)
    svg = ElementTree.fromstring(text)
    assert "<b>" not in text
    assert {node.get("data-family") for node in links(svg, "node")} == set(graph)
    (badge,) = links(svg, "badge")
    assert badge.get("aria-label") == '7. a "b" <c>: not checked' and "unknown" in badge.get("class", "")
    assert ["Generalised", "HyperbolicMixture"] in [
        [t.text for t in node.iter("text")] for node in links(svg, "node")
    ]


def test_the_same_graph_gives_the_same_drawing_and_an_empty_one_is_refused():
    assert atlas_svg(whole()) == atlas_svg(whole())
    with pytest.raises(EmptyDataError, match="no nodes"):
        atlas_svg(nx.MultiGraph())
