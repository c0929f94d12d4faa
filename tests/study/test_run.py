"""The whole study, small: every row in results and report, failures shown and turned into exit code 1."""

from __future__ import annotations

import json
import re
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from tests.study.catalogue_stub import HerePool, small
from unigen.cli import app
from unigen.errors import ArgumentError, UnknownNameError
from unigen.study import run
from unigen.study.run import run_study
from unigen.study.worker import slug


class Page(HTMLParser):
    """Collects tags with attributes, and the cells of table rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.rows: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "tags must nest"

    def handle_data(self, data):
        if "tr" in self.open:
            self.rows[-1] += data + " "


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} in JSON")


def self_contained(text: str) -> Page:
    """No script, nothing fetched, every link inside the page, every picture embedded."""
    page = Page(text)
    assert page.open == []
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "base"}
    assert not re.search(r"https?:|url\(|@import", text)
    ids = {facts["id"] for _, facts in page.tags if "id" in facts}
    for tag, facts in page.tags:
        assert not any(name.startswith("on") for name in facts)
        if "href" in facts:
            assert facts["href"][0] == "#" and facts["href"][1:] in ids, facts
        if tag == "img":
            assert facts["src"].startswith("data:image/png;base64,") and facts["alt"]
    return page


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        out = tmp_path_factory.mktemp("study") / "deep"
        small(patch, fails=True, measured=((1, ("PPCA", "Broken")), (20, ("GAN & co",))))
        return run_study("digits", out, quick=True, show=False), out


def test_results_are_strict_json_and_complete(finished):
    results, out = finished
    read = json.loads((out / "results.json").read_text(), parse_constant=no_constant)
    assert [row["name"] for row in read["rows"]] == ["PPCA", "GAN & co", "Broken", "Real images"]
    assert [each["id"] for each in read["relations"]] == [1, 20]
    assert read["ok"] is results["ok"] is False  # one row failed
    assert read["quick"] is True and read["seed"] == 0
    assert "measured" in read["relations"][1] and "refused" in read["relations"][0]


def test_report_is_self_contained_and_shows_every_row(finished):
    results, out = finished
    text = (out / "report.html").read_text(encoding="utf-8")
    page = self_contained(text)
    rows = dict(zip(["head", *(row["name"] for row in results["rows"])], page.rows, strict=True))
    assert all(name in text for name in rows["PPCA"].split()[:1])
    assert "exact" in rows["PPCA"] and f"{results['rows'][0]['nats']:.2f}" in rows["PPCA"]
    assert "no density" in rows["GAN & co"] and "nan" not in rows["GAN & co"].lower()
    assert "RuntimeError: a <broken> row" in rows["Broken"]  # shown, and escaped: the page still nests
    assert "Real images" in rows["Real images"]
    assert "no &lt;density&gt;" in text
    for each in results["relations"]:
        assert f'id="relation-{each["id"]}"' in text


def test_a_failing_row_exits_1_and_a_good_study_0(monkeypatch, tmp_path):
    small(monkeypatch, fails=True)
    done = CliRunner().invoke(app, ["study", "--quick", "--out", str(tmp_path / "a"), "--json"])
    assert done.exit_code == 1, (done.output, done.exception)
    assert json.loads(done.stdout, parse_constant=no_constant)["ok"] is False
    small(monkeypatch)
    assert run_study("digits", tmp_path / "b", quick=True, show=False)["ok"] is True


class DyingPool(HerePool):
    """Dies at the second task, as a process without memory does; the tasks before it are done."""

    def __init__(self):
        self.tasks = 0

    def submit(self, function, *arguments):
        self.tasks += 1
        if self.tasks == 1:
            return super().submit(function, *arguments)
        if self.tasks > 3:
            raise BrokenProcessPool("dead")
        future: Future = Future()
        future.set_exception(BrokenProcessPool("dead"))
        return future


def test_a_dead_process_costs_its_row_and_not_the_report(monkeypatch, tmp_path):
    small(monkeypatch, measured=((1, ("PPCA", "GAN & co")),))
    monkeypatch.setattr(run, "_pool", DyingPool)
    results = run_study("digits", tmp_path, quick=True, show=False)
    errors = {row["name"]: row["error"] for row in results["rows"]}
    assert [bool(error) for error in errors.values()] == [True, False, True] and not results["ok"]
    assert "died" in errors["PPCA"] and "died" in results["relations"][0]["error"]
    assert "its process died" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_name_of_a_file_is_plain():
    assert slug("Schrödinger bridge") == "schrodinger-bridge"


def test_bad_arguments_are_refused_before_any_work(tmp_path):
    with pytest.raises(UnknownNameError, match="digits"):
        run_study("mnist", tmp_path / "out", show=False)
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError, match="cannot write"):
        run_study("digits", tmp_path / "file", show=False)
