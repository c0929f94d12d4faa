from __future__ import annotations

import math
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from unigen.errors import ArgumentError, EmptyDataError
from unigen.plots.atlas import draw_atlas


def words(fig: Figure) -> dict[str, tuple[float, float]]:
    """Texts of the only axes, with their positions in inches."""
    (axes,) = fig.axes
    return {text.get_text(): text.get_position() for text in axes.texts}


def lines(fig: Figure) -> list[FancyArrowPatch]:
    return [patch for patch in fig.axes[0].patches if isinstance(patch, FancyArrowPatch)]


def example(kind: type[nx.Graph] = nx.Graph) -> nx.Graph:
    graph = kind()
    graph.add_edge("PCA", "PPCA", label="1", statement="noise to zero")
    graph.add_edge("PPCA", "VAE", label="2", statement="the bound is tight")
    graph.add_edge("VAE", "VAE", label="10", statement="collapse")
    return graph


def test_every_family_and_relation_is_drawn_and_labels_lie_on_their_lines() -> None:
    graph = nx.Graph()
    graph.add_edge("PCA", "PPCA", label="noise")
    graph.add_edge("PPCA", "VAE", label="tight")
    fig = draw_atlas(graph, title="Atlas")
    at = words(fig)
    assert set(at) == {"PCA", "PPCA", "VAE", "noise", "tight"}
    assert len(lines(fig)) == 2
    for a, b, mark in (("PCA", "PPCA", "noise"), ("PPCA", "VAE", "tight")):
        detour = math.dist(at[a], at[mark]) + math.dist(at[mark], at[b]) - math.dist(at[a], at[b])
        assert detour == pytest.approx(0.0, abs=1e-9)
    assert [text.get_text() for text in fig.texts] == ["Atlas"]


def test_numbers_are_explained_in_a_key_sorted_by_number() -> None:
    at = words(draw_atlas(example(), key="statement"))
    order = sorted(("noise to zero", "the bound is tight", "collapse"), key=lambda text: -at[text][1])
    assert order == ["noise to zero", "the bound is tight", "collapse"]
    assert at["collapse"][0] > max(at[name][0] for name in ("PCA", "PPCA", "VAE"))


def test_long_labels_become_numbers_unless_told_otherwise() -> None:
    graph = nx.Graph()
    graph.add_edge("a", "b", label="a statement that is too long to stand on a line")
    graph.add_edge("b", "c", label="short")
    graph.add_edge("c", "a", label="short")
    assert [m for m in words(draw_atlas(graph)) if m.isdigit()] == ["1", "2"]
    assert not [m for m in words(draw_atlas(graph, numbered=False)) if m.isdigit()]


def test_a_loop_has_a_mark_at_its_box_and_no_line() -> None:
    fig = draw_atlas(example())
    at = words(fig)
    assert len(lines(fig)) == 2
    assert math.dist(at["10"], at["VAE"]) < 0.5


def test_parallel_edges_are_told_apart_and_marks_lie_on_the_arcs() -> None:
    graph = nx.MultiGraph()
    graph.add_edge("a", "b", label="1")
    graph.add_edge("b", "a", label="2")
    fig = draw_atlas(graph)
    at, arcs = words(fig), lines(fig)
    assert math.dist(at["1"], at["2"]) > 0.2
    fig.canvas.draw()
    to_inches = fig.axes[0].transData.inverted()
    for mark, arc in zip(("1", "2"), arcs, strict=True):
        path = arc.get_transform().transform_path(arc.get_path())
        points = to_inches.transform(path.to_polygons(closed_only=False)[0])
        dense = np.concatenate([np.linspace(p, q, 50) for p, q in pairwise(points)])
        assert np.linalg.norm(dense - at[mark], axis=1).min() < 0.03


def test_directed_edges_have_heads_that_stop_at_the_box() -> None:
    graph = nx.DiGraph([("aaaa", "bbbb")])
    fig = draw_atlas(graph)
    at = words(fig)
    (arrow,) = lines(fig)
    assert arrow.shrinkB > 10
    assert arrow.shrinkB < 72 * math.dist(at["aaaa"], at["bbbb"]) / 2
    assert lines(draw_atlas(nx.Graph([("a", "b")])))[0].shrinkB == 0


def test_unit_is_the_inch_and_boxes_stay_on_the_page() -> None:
    fig = draw_atlas(nx.cycle_graph(9), size=(5.0, 4.0))
    assert list(fig.get_size_inches()) == [5.0, 4.0]
    fig.canvas.draw()
    renderer = fig.canvas.get_renderer()
    for text in fig.axes[0].texts:
        extent = text.get_bbox_patch().get_window_extent(renderer)
        assert extent.x0 >= 0
        assert extent.y0 >= 0
        assert extent.x1 <= 5.0 * fig.dpi
        assert extent.y1 <= 4.0 * fig.dpi


def test_highlighted_families_are_filled() -> None:
    fig = draw_atlas(example(), highlight=["VAE"])
    faces = {text.get_text(): text.get_bbox_patch().get_facecolor() for text in fig.axes[0].texts}
    assert faces["VAE"] != faces["PCA"] == (1.0, 1.0, 1.0, 1.0)


def test_verdicts_colour_lines_and_marks() -> None:
    graph = example(nx.MultiGraph)
    for (*_, data), verdict in zip(graph.edges(data=True), (True, False, False), strict=True):
        data["holds"] = verdict
    fig, plain = draw_atlas(graph), draw_atlas(example(nx.MultiGraph))
    green, orange = (lines(fig)[i].get_edgecolor() for i in (0, 1))
    grey = {line.get_edgecolor() for line in lines(plain)}
    assert len({green, orange} | grey) == 3
    rims = {text.get_text(): text.get_bbox_patch().get_edgecolor() for text in fig.axes[0].texts}
    assert (rims["1"], rims["2"], rims["10"]) == (green, orange, orange)  # a loop has no line, but a rim


def test_bad_input_is_refused() -> None:
    with pytest.raises(ArgumentError, match="XYZ"):
        draw_atlas(example(), highlight=["XYZ"])
    with pytest.raises(EmptyDataError):
        draw_atlas(nx.Graph())
