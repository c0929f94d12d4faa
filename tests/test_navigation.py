"""The documentation's ways: from the first page to how a family becomes another, by the pages as they are generated."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from docutils import nodes
from sphinx import addnodes

from unigen.families import FAMILIES
from unigen.relations.evidence import Claim
from unigen.relations.relation import Relation, all_relations, relation

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([\w/.]+)\.md(?:#[\w-]+)?\)")
CODE = re.compile(r"`([^`]+)`")
INCLUDED = re.compile(r"```\{literalinclude\} (\S+)\n:pyobject: (\S+)\n")


@pytest.fixture
def family_pages(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("family_pages")


@pytest.fixture
def relation_pages(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("relation_pages")


def links(text: str, folder: Path) -> set[str]:
    """Return the pages that a page in a folder links to, by their paths in ``docs`` without suffix."""
    found = (folder / target for target in LINK.findall(text))
    return {path.resolve().relative_to(DOCS).as_posix() for path in found}


def rendered(page: Path, substitutions: dict[str, str]) -> str:
    """Return the text of a page with what the code writes into it."""
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: substitutions.get(found[1], ""), page.read_text())


def test_every_family_has_one_page_in_the_table_of_contents(family_pages: Any):
    index = (DOCS / "index.md").read_text()
    listed = re.findall(r"^families/(\w+)$", index, re.MULTILINE)
    written = sorted(path.stem for path in (DOCS / "families").glob("*.md"))
    assert sorted(listed) == written == sorted(family_pages.PAGES)
    for name in FAMILIES:
        assert [name in page.programs for page in family_pages.PAGES.values()].count(True) == 1, name
    for name, page in family_pages.PAGES.items():
        text = (DOCS / "families" / f"{name}.md").read_text()
        assert text.startswith(f"# {page.title}\n"), f"{name}.md and its title in family_pages.py differ"
        assert f"{{{{ becomes_{name} }}}}" in text


def test_every_relation_has_a_page(relation_pages: Any, family_pages: Any):
    text = relation_pages.index_page(all_relations())
    names = [family_pages.file_of(each) for each in all_relations()]
    assert len(set(names)) == len(names)
    assert {f"relations/{name}" for name in names} <= links(text, DOCS / "relations")
    assert set(names) <= set(text.partition("```{toctree}")[2].split())


def test_two_clicks_lead_from_the_first_page_to_how_a_family_becomes_another(family_pages: Any):
    substitutions = family_pages.family_substitutions()
    first = links(rendered(DOCS / "index.md", substitutions), DOCS)
    between = [each for each in all_relations() if len(family_pages.pages_of(each)) > 1]
    assert len(between) >= 13
    for each in between:
        pages = family_pages.pages_of(each)
        for page in pages:
            assert f"families/{page}" in first
            second = rendered(DOCS / "families" / f"{page}.md", substitutions)
            found = links(second, DOCS / "families")
            assert f"relations/{family_pages.file_of(each)}" in found, (each, page)
            assert {f"families/{other}" for other in pages if other != page} <= found, (each, page)


def test_a_family_page_names_every_theorem_about_it(family_pages: Any):
    for page in family_pages.PAGES:
        found = links(family_pages.becomes(page), DOCS / "families")
        for each in all_relations():
            expected = page in family_pages.pages_of(each) or "Program" in each.families
            assert (f"relations/{family_pages.file_of(each)}" in found) is expected, (page, each)


def test_families_of_relations_are_known(family_pages: Any):
    for each in all_relations():
        for name in each.families:
            assert name == "Program" or family_pages.page_of(name), f"no page speaks of {name}: {each}"


def test_conversions_are_those_that_the_theorem_licenses(family_pages: Any):
    found = {tuple(each) for each in family_pages.conversions(relation(1))}
    assert ("PPCA", "VAE", None) in found
    assert ("VAE", "PPCA", "encoder and decoder are affine") in found
    assert family_pages.conversions(relation(8)) == []
    assert {(start, to) for start, to, _ in family_pages.conversions(relation(27))} == {
        ("LatentSDE", "StateSpace")
    }


def test_a_relation_page_says_what_the_relation_says(relation_pages: Any):
    known, escape = relation(30), relation_pages.escape
    relation_sections = importlib.import_module("relation_sections")
    evidence = known.check()
    text = relation_pages.relation_page(known, evidence)
    assert known.latex in text and escape(known.source) in text
    for claim in evidence.claims:
        assert relation_sections.claim_row(claim) in text
        assert f"{claim.left:.7g}".replace("-", "−") in text
    for assumption in known.assumptions:
        assert escape(assumption) in text
    assert "ug.relation(30).check()" in text and "| `shift` | `1.0` | m. |" in text


def test_a_relation_that_fails_stops_the_build(relation_pages: Any):
    class Broken(type(relation(30))):
        def check(self, **parameters: Any) -> Any:
            return self.evidence(Claim("two is three", 2.0, 3.0, 0.1))

    broken: Relation = Broken()
    with pytest.raises(relation_pages.FailedRelation, match="two is three"):
        relation_pages.relation_page(broken, broken.check())


def test_plain_text_keeps_its_meaning_as_markdown(relation_pages: Any):
    plain_text = importlib.import_module("plain_text")
    text = plain_text.text_of("Notation: p(x | z), W_q and f* where\n\n    a * b = c_d\n\nholds.")
    assert text == "Notation: p(x \\| z), W\\_q and f\\* where\n\n```text\na * b = c_d\n```\n\nholds."


@pytest.mark.parametrize("page", sorted((DOCS / "families").glob("*.md")), ids=lambda path: path.stem)
def test_symbols_stand_in_the_files_that_are_named(page: Path):
    """In the table symbol, code, file every name in the second column occurs in the file of the third."""
    rows = re.findall(r"^\| .+ \| (.+) \| `(unigen/[\w/]+\.py)` \|$", page.read_text(), re.MULTILINE)
    assert len(rows) >= 5
    for code, file in rows:
        source = (ROOT / file).read_text()
        for name in CODE.findall(code):
            assert name in source, f"{page.name}: {name} is not in {file}"


@pytest.mark.parametrize("page", sorted((DOCS / "families").glob("*.md")), ids=lambda path: path.stem)
def test_the_code_that_is_shown_exists(page: Path):
    shown = INCLUDED.findall(page.read_text())
    assert shown and page.read_text().count("{literalinclude}") == len(shown)
    for file, name in shown:
        body = ast.parse((page.parent / file).read_text()).body
        for part in name.split("."):
            found = [each for each in body if getattr(each, "name", None) == part]
            assert len(found) == 1, f"{page.name}: no {name} in {file}"
            body = getattr(found[0], "body", [])


def contents(*inner: nodes.Node) -> nodes.bullet_list:
    """Return the table of contents of a page, with what it holds."""
    link = addnodes.compact_paragraph("", "", nodes.reference("", "title", refuri="page", anchorname=""))
    return nodes.bullet_list("", nodes.list_item("", link, nodes.bullet_list("", *inner)))


def test_the_navigation_keeps_pages_and_drops_what_is_on_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(DOCS))
    navigation = importlib.import_module("navigation")
    section = nodes.list_item("", nodes.paragraph("", "a class"))
    tocs = {
        "guide/fit": contents(section.deepcopy()),
        "api/unigen": contents(section.deepcopy(), addnodes.toctree(entries=[(None, "api/unigen.nn")])),
        "api/unigen.nn": contents(
            section.deepcopy(), addnodes.toctree(entries=[(None, "api/unigen.nn.mlp")])
        ),
        "api/unigen.models": contents(section, addnodes.toctree(entries=[(None, "api/unigen.models.vae")])),
    }
    before = {page: toc.pformat() for page, toc in tocs.items()}
    short = navigation.Navigation(tocs).beside("api/unigen.nn.mlp")
    assert {
        page: toc.pformat() for page, toc in tocs.items()
    } == before  # the pages themselves stay as they are
    assert all("a class" not in toc.astext() and "title" in toc.astext() for toc in short.values())
    held = {page: len(list(toc.findall(addnodes.toctree))) for page, toc in short.items()}
    assert held == {"guide/fit": 0, "api/unigen": 1, "api/unigen.nn": 1, "api/unigen.models": 0}
