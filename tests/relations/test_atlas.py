"""The atlas: every family a node, every relation an edge between the families it names."""

from __future__ import annotations

import pytest

from unigen.errors import MissingExtraError
from unigen.families import FAMILIES, term
from unigen.relations.atlas import atlas
from unigen.relations.evidence import Claim
from unigen.relations.relation import Relation, all_relations


def test_nodes_and_edges_are_the_families_and_the_relations():
    graph = atlas()
    assert {name: what for name, what in graph.nodes(data="what") if what} == {
        name: what for name, (_, what) in FAMILIES.items()
    }
    found = {(frozenset((a, b)), facts["id"]) for a, b, facts in graph.edges(data=True)}
    expected = {
        (frozenset((term(each.families[0]), term(other))), each.id)
        for each in all_relations()
        for other in (each.families[1:] or each.families)
    }
    assert found == expected
    assert "FlowProgram" not in graph and {19} <= {f["id"] for f in graph["Flow"]["VAE"].values()}


def test_edges_carry_what_a_reader_needs():
    known = {each.id: each for each in all_relations()}
    for _, _, facts in atlas().edges(data=True):
        each = known[facts["id"]]
        said = {"name": each.name, "statement": each.statement, "source": each.source}
        assert facts == said | {"id": each.id, "label": str(each.id)}


class Quick(Relation):
    id, name, families = 9100, "quick", ("PPCA", "VAE")
    statement, latex, source = "one is one", "1 = 1", "Peano 1889"
    holds = True

    def check(self):
        if self.holds is None:
            raise MissingExtraError("needs a package")
        return self.evidence(Claim("one", 1.0, 1.0 if self.holds else 2.0, 0.0))


@pytest.mark.parametrize("holds", [True, False, None])
def test_verdicts_on_the_edges(holds, monkeypatch):
    quick = Quick()
    quick.holds = holds
    monkeypatch.setattr("unigen.relations.atlas.all_relations", lambda: [quick])
    ((_, _, facts),) = atlas(verify=True).edges(data=True)
    assert facts["holds"] is holds
    assert facts["evidence"] == ("needs a package." if holds is None else quick.check())
    assert "holds" not in next(iter(atlas().edges(data=True)))[2]


def test_each_call_is_a_fresh_graph():
    atlas().clear()
    assert "PPCA" in atlas()
