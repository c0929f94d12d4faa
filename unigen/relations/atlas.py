"""The atlas: families as nodes, theorems as edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unigen.errors import MissingExtraError
from unigen.families import FAMILIES, term
from unigen.relations.relation import Relation, all_relations

if TYPE_CHECKING:
    import networkx


def atlas(*, verify: bool = False) -> networkx.MultiGraph:
    """Return the graph of families; an edge carries ``id``, ``name``, ``statement``, ``source``, ``label``.

    A relation among several families links each to the first; one about a single family is a loop.

    Args:
        verify: Whether to run the worked example of every relation, so that an edge carries ``holds`` and ``evidence``
            too; ``draw_atlas`` colours it accordingly. It takes some minutes.

    Example:
        >>> graph = atlas()
        >>> "PPCA" in graph
        True
    """
    import networkx

    graph = networkx.MultiGraph()
    for name, (_, what) in FAMILIES.items():
        graph.add_node(name, what=what)
    for each in all_relations():
        facts = {"id": each.id, "name": each.name, "statement": each.statement, "source": each.source}
        facts["label"] = str(each.id)
        if verify:
            facts |= _verdict(each)
        link(graph, each, **facts)
    return graph


def link(graph: networkx.MultiGraph, relation: Relation, **facts: object) -> None:
    """Add a relation's edges to a graph: from its first family to each other one, or a loop.

    Args:
        graph: Of families, by the field's words.
        relation: The theorem.
        facts: What each edge carries.
    """
    first, *others = map(term, relation.families)
    for other in others or [first]:
        graph.add_edge(first, other, **facts)


def _verdict(relation: Relation) -> dict[str, object]:
    """Return whether the worked example holds, and its evidence; None and the reason where a package is missing."""
    try:
        evidence = relation.check()
    except MissingExtraError as error:
        return {"holds": None, "evidence": str(error)}
    return {"holds": evidence.holds, "evidence": evidence}
