"""The atlas: families as nodes, theorems as edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unigen.names import FAMILIES
from unigen.relations.relation import all_relations

if TYPE_CHECKING:
    import networkx


def atlas() -> networkx.MultiGraph:
    """Return the graph of families; an edge carries ``id``, ``name``, ``statement``, ``source``, ``label``.

    A relation among several families links each to the first; one about a single family is a loop.

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
        first, *others = each.families
        for other in others or [first]:
            graph.add_edge(first, other, **facts)
    return graph
