"""The page of relations: what stands in it, which files it may be written to, and that a broken theorem is seen."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from unigen.cli import app
from unigen.errors import ArgumentError, EmptyDataError, MissingExtraError
from unigen.plots import page as pages
from unigen.relations import page as module
from unigen.relations import page_sections, relation
from unigen.relations.evidence import Claim, statistical
from unigen.relations.page import check_target, page, write_page
from unigen.relations.page_sections import Finding, draw
from unigen.relations.page_style import STYLE
from unigen.relations.relation import Relation, all_relations

runner = CliRunner()
NO_END = ("meta", "link", "img", "input", "br")


class Page(HTMLParser):
    """Every tag of a page with its attributes, their text by section, and a check that they close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.section, self.words = "", {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in NO_END:
            self.open.append(tag)
        if tag == "section":
            self.section = dict(attrs)["id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "section":
            self.section = ""

    def handle_data(self, data):
        self.words[self.section] = self.words.get(self.section, "") + data

    def ids(self) -> list[str]:
        return [attributes["id"] or "" for _, attributes in self.tags if "id" in attributes]

    def links(self) -> set[str]:
        return {attributes["href"] or "" for tag, attributes in self.tags if tag == "a"}


class Quick(Relation):
    id, name, families = 9200, "a <quick> one", ("PPCA", "FlowProgram")
    statement, latex, source = "one & one is two", r"1 + 1 \le 2", "Peano 1889"
    assumptions = ("numbers are <natural>",)
    right = 2.0

    def check(self, *, seed: int = 0):
        """Add one to one."""
        exact = Claim("1 + 1 < 3 & <more>", 2.0, self.right, 1e-9)
        return self.evidence(exact, statistical("by draws", 2.01, 2.0, 0.1), count_of="<two>")


class Broken(Quick):
    id, name, right, latex = 9201, "a broken one", 3.0, r"\nonsense{1}"


def found(*kinds: type[Relation]) -> list[Finding]:
    return [draw(kind(), kind().check()) for kind in kinds]


@pytest.fixture(scope="module")
def whole() -> str:
    """The page of all relations, each with a claim in place of what it measures."""
    picture = "<figure></figure>"
    return page([Finding(each, each.evidence(Claim("one", 1, 1, 0)), picture) for each in all_relations()])


def test_every_relation_and_family_has_a_section_and_every_link_arrives(whole):
    read = Page(whole)
    assert len(read.ids()) == len(set(read.ids()))
    assert {f"relation-{each.id}" for each in all_relations()} <= set(read.ids())
    targets = {link.removeprefix("#") for link in read.links()}
    assert targets <= set(read.ids())
    assert {i for i in read.ids() if i.startswith(("relation-", "family-"))} <= targets
    for each in all_relations():
        words = read.words[f"relation-{each.id}"]
        for part in (
            each.name,
            each.statement[1:],
            each.source,
            *each.assumptions,
            f"ug.relation({each.id})",
        ):
            assert part in words
        for a, b in each.converts:
            assert f'ug.convert(program, to="{b}")' in words and a in words
    assert "NICE, RealNVP, NSF, MAF, IAF, Glow" in read.words["family-Flow"]
    assert "FlowProgram" not in whole
    assert (
        "PPCA – linear VAE" in read.words["family-PPCA"]
        and "posterior collapse" not in read.words["family-PPCA"]
    )


def test_the_page_fetches_nothing(whole):
    read = Page(whole)
    for _, attributes in read.tags:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert not any(re.match(r"on[a-z]+$", name) for _, attributes in read.tags for name in attributes)
    assert len(re.findall("<script>", whole)) == 2 and len(re.findall("'sha256-", whole)) == 2
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp|import\(", whole)


def test_numbers_verdict_details_and_figure_of_a_section():
    text = page(found(Quick))
    read = Page(text)
    words = read.words["relation-9200"]
    for part in (
        "9200. a <quick> one", "✓ holds", "One & one is two.", "numbers are <natural>", "Add one to one.", "seed=0",
        "1 + 1 < 3 & <more>", "2.01", "+0.01", "0.49", "0.1", "count_of", "<two>", "theorem = ug.relation(9200)",
    ):  # fmt: skip
        assert part in words, part
    assert "<more>" not in text and "<quick>" not in text and "<natural>" not in text and "<two>" not in text
    assert "The theorem holds." in text
    assert next(a["src"] for tag, a in read.tags if tag == "img").startswith("data:image/png;base64,")


def test_a_broken_theorem_stands_out_everywhere():
    text = page(found(Quick, Broken))
    read = Page(text)
    assert "1 of 2 fails: 9201" in re.sub(r"<[^>]*>", "", text)
    assert "✗ FAILS" in read.words["relation-9201"] and "✗ FAILS" not in read.words["relation-9200"]
    kinds = {
        a["href"]: a["class"] for tag, a in read.tags if tag == "a" and "badge" in (a.get("class") or "")
    }
    assert kinds == {"#relation-9200": "badge holds", "#relation-9201": "badge fails"}
    assert text.count('<tbody class="fails">') == 1 and text.count('<tbody class="holds">') == 3
    assert r"<code>\nonsense{1}</code>" in text  # a formula that cannot be drawn stands as it was written


def test_a_figure_that_needs_a_package_is_missing_with_its_reason():
    class NoFigure(Quick):
        def figure(self, **_):
            raise MissingExtraError("needs POT", hint="pip install 'unigen[ot]'")

    assert "No figure: needs POT" in page(found(NoFigure))


def test_conversions_are_declared_where_they_are_written():
    for each in all_relations():
        assert bool(each.converts) is (type(each).convert is not Relation.convert), each
        assert len(set(each.converts)) == len(each.converts)


def test_the_style_is_closed_and_defined():
    both = pages.STYLE + STYLE
    assert both.count("{") == both.count("}") and not re.search(r"url\(|@import|https?:", both)
    assert set(re.findall(r"var\((--[a-z]+)\)", both)) <= set(re.findall(r"(--[a-z]+):", pages.STYLE))


# ---------------------------------------------------------------- files


@pytest.fixture
def counted(monkeypatch):
    """Two quick relations in place of all, and the list of those that were checked."""
    checked = []

    class Counted(Quick):
        def check(self, **options):
            checked.append(self.id)
            return super().check(**options)

    class CountedToo(Counted):
        id, name, right = 9201, "another", 3.0

    monkeypatch.setattr(relation, "all_relations", lambda: [Counted(), CountedToo()])
    monkeypatch.setattr(relation, "relation", lambda number: {9200: Counted(), 9201: CountedToo()}[number])
    return checked


def test_verify_writes_the_page_beside_the_json(counted, tmp_path):
    target = tmp_path / "atlas.html"
    done = runner.invoke(app, ["verify", "--html", str(target), "--json"])
    assert done.exit_code == 1, done.output  # one is broken, and stands in the page
    assert [each["holds"] for each in json.loads(done.stdout)] == [True, False]
    assert {"relation-9200", "relation-9201"} <= set(Page(target.read_text()).ids())
    assert [path.name for path in tmp_path.iterdir()] == ["atlas.html"]
    done = runner.invoke(app, ["verify", "9200", "--html", str(target)])
    assert (
        done.exit_code == 0
        and "atlas.html" in done.stdout.replace("\n", "")
        and "checking 9200" in done.stderr
    )
    assert "relation-9201" not in target.read_text()


@pytest.mark.parametrize(
    "name", ["nowhere/atlas.html", "atlas.txt", "folder.html", "/proc/atlas.html", "pipe.html"]
)
def test_bad_files_are_refused_before_anything_runs(counted, tmp_path, name):
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "pipe.html").symlink_to("/dev/null")
    done = runner.invoke(app, ["verify", "--html", str(tmp_path / name)])
    assert done.exit_code == 2 and done.stderr.startswith("ArgumentError ") and done.stderr.count("\n") == 1
    assert "--html" in done.stderr and not counted
    with pytest.raises(ArgumentError, match="--html"):
        check_target(tmp_path / name)


def test_a_page_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "atlas.html"
    target.write_text("before")

    def full(file, data):
        file.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_all", full)
    with pytest.raises(ArgumentError, match="No space left"):
        write_page(found(Quick), target)
    assert target.read_text() == "before" and [path.name for path in tmp_path.iterdir()] == ["atlas.html"]


def test_no_relations_no_page(tmp_path):
    with pytest.raises(EmptyDataError, match="no relations"):
        write_page([], tmp_path / "atlas.html")


def test_what_families_are():
    assert page_sections.what("PPCA") == "probabilistic PCA, closed form"
    assert (
        page_sections.what("Ising") and page_sections.what("Program") and page_sections.what("Nonesuch") == ""
    )
