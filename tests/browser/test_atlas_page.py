"""The page of relations in a real browser: what a reader clicks, types, reads and copies; run by ``make browser``."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from unigen.families import term
from unigen.relations.page import write_page
from unigen.relations.page_sections import draw
from unigen.relations.relation import all_relations, relation

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SCREENS = [(1440, 900), (1280, 800), (800, 1000), (400, 800)]
SHOWN = ".entry.shown"
PATIENCE = 120_000  # milliseconds, for a machine that does other work
expect.set_options(timeout=PATIENCE)


@dataclass
class Atlas:
    """A page on disk, and what the command that wrote it printed."""

    path: Path
    found: dict[int, dict] = field(default_factory=dict)

    def url(self, fragment: str = "") -> str:
        return self.path.as_uri() + fragment


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next((shutil.which(name) for name in names if shutil.which(name)), None)
    assert path, "no Chromium on this machine; on Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def atlas(tmp_path_factory) -> Atlas:
    """The page of all relations, as the command writes it."""
    path = tmp_path_factory.mktemp("page") / "atlas.html"
    command = [sys.executable, "-m", "unigen.cli", "verify", "--html", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return Atlas(path, {each["id"]: each for each in json.loads(done.stdout)})


class WrongWeight(type(relation(13))):
    """The theorem with the wrong weight of a step: log SNR in place of SNR."""

    def step_weight(self, log_snr_s, log_snr_t):
        return 0.5 * (log_snr_s - log_snr_t)


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> Atlas:
    """A page on which one identity is broken."""
    path = tmp_path_factory.mktemp("page") / "broken.html"
    kinds = [relation(1), WrongWeight(), relation(15)]
    return Atlas(write_page([draw(each, each.check()) for each in kinds], path))


@pytest.fixture
def page(browser) -> Iterator[Page]:
    """A tab that fails the test at any error of the console, and at any request but for the page itself."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=False)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.set_default_timeout(PATIENCE)
    tab, wrong = context.new_page(), []
    tab.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on(
        "request", lambda asked: None if asked.url.startswith(("file:", "data:")) else wrong.append(asked.url)
    )
    yield tab
    context.close()
    assert not wrong


def badge(tab: Page, number: int):
    return tab.locator(f'.badge[data-id="{number}"]:visible').first


def test_a_click_on_an_edge_shows_theorem_numbers_and_figure(page, atlas):
    page.goto(atlas.url())
    expect(page.locator(SHOWN)).to_have_id("about")
    x, y = page.evaluate(
        """() => {const path = document.querySelector('.wide-map .edge[data-id="13"] .line');
        const p = path.getPointAtLength(path.getTotalLength() * 0.26).matrixTransform(path.getScreenCTM());
        return [p.x, p.y];}"""
    )
    page.mouse.click(x + 5, y)  # beside the line: it is wider than it looks
    shown = page.locator(SHOWN)
    expect(shown).to_have_id("relation-13")
    assert page.url.endswith("#relation-13") and page.title() == "13. diffusion – hierarchical VAE · unigen"
    found, theorem = atlas.found[13], relation(13)
    text = shown.inner_text()
    for part in (theorem.statement[1:], theorem.source, *theorem.assumptions, "✓ holds", 'to="DDPM"'):
        assert part in text
    for number in (f"{found['left']:.7g}", f"{found['right']:.7g}", f"{found['gap']:+.2g}"):
        assert number in text
    expect(shown.locator(".formula svg").first).to_be_visible()
    assert shown.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
    assert page.locator('.edge.chosen[data-id="13"], .badge.chosen[data-id="13"]').count() >= 2
    assert page.evaluate("scrollY") == 0  # the map stays where it is
    page.go_back()
    expect(page.locator(SHOWN)).to_have_id("about")


def test_every_relation_opens_by_its_address_with_figure_and_formula(page, atlas):
    for each in all_relations():
        page.goto(atlas.url(f"#relation-{each.id}"))
        shown = page.locator(SHOWN)
        expect(shown).to_have_count(1)
        expect(shown.locator("h2")).to_contain_text(f"{each.id}. {each.name}")
        assert shown.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
        box = shown.locator(".formula svg path").first.bounding_box()
        assert box is not None and box["width"] > 40 and box["height"] > 8
        box = shown.bounding_box()
        assert box is not None and box["y"] < 300  # in sight, and the head of the page too
        page.wait_for_function("scrollY === 0")


def test_a_family_lists_its_theorems(page, atlas):
    page.goto(atlas.url())
    page.locator('.wide-map .node[data-family="VAE"] rect').click(position={"x": 4, "y": 4})
    listed = page.locator(f"{SHOWN} .theorems a").evaluate_all(
        "links => links.map(link => link.getAttribute('href'))"
    )
    assert listed == [f"#relation-{each.id}" for each in all_relations() if "VAE" in each.families]
    page.locator(f"{SHOWN} .theorems a").first.click()
    expect(page.locator(SHOWN)).to_have_id("relation-1")


def test_the_copied_code_runs(page, atlas, tmp_path):
    page.goto(atlas.url("#relation-15"))
    for permitted in (True, False):
        if not permitted:
            page.evaluate(
                "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('denied')); }"
            )
        page.locator(f"{SHOWN} .copy").click()
        expect(page.locator(f"{SHOWN} .copy")).to_have_text("copied")
        code = page.evaluate("navigator.clipboard.readText()")
        assert code == page.locator(f"{SHOWN} .code code").text_content()
        expect(page.locator(f"{SHOWN} .copy")).to_have_text("copy")
        page.locator("#filter").press("Control+V")
        assert "ug.relation(15)" in page.locator("#filter").input_value()
        page.locator("#filter").fill("")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=300
    )
    assert "holds" in done.stdout and f"{atlas.found[15]['left']:.7g}" in done.stdout
    assert (tmp_path / "relation-15.png").stat().st_size > 5000


def words(number: int) -> str:
    """What the filter looks through: everything said of a relation but its formula."""
    each = relation(number)
    return " ".join(
        (each.name, *map(term, each.families), each.statement, each.source, *each.assumptions, "holds")
    ).lower()


@pytest.mark.parametrize("typed", ["13", "kingma", "flow VAE", "tweedie", "fails", "holds", ""])
def test_the_filter(page, atlas, typed):
    terms = typed.lower().split()
    expected = {number for number in atlas.found if all(each in words(number) for each in terms)}
    if typed == "13":
        expected = {13}  # a number is that of a relation, not part of a year
    assert (typed != "fails") is bool(expected)
    page.goto(atlas.url())
    page.locator("#filter").fill("something else")
    page.locator("#filter").fill(typed)
    shown = page.locator(".index li:visible").evaluate_all(
        "items => items.map(item => Number(item.dataset.id))"
    )
    assert set(shown) == expected
    expect(page.locator("#count")).to_have_text(f"{len(expected)} of {len(atlas.found)}")
    bright = page.locator(".wide-map .badge:not(.dim)").evaluate_all(
        "all => all.map(each => Number(each.dataset.id))"
    )
    assert set(bright) == expected
    families = {name for each in all_relations() if each.id in expected for name in each.families}
    nodes = page.locator(".wide-map .node:not(.dim)").count()
    assert nodes == len(families)
    page.locator("#filter").press("Enter")  # submits nothing
    assert page.locator("#filter").input_value() == typed


def test_the_keyboard_reaches_everything(page, atlas):
    page.goto(atlas.url())
    reached = []
    for _ in range(150):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("(document.activeElement.getAttribute('href') || document.activeElement.id)")
        )
        if reached[-1] == "filter":
            break
    assert reached[-1] == "filter"
    links = page.locator(".wide-map a:not([tabindex])").evaluate_all(
        "all => all.map(a => a.getAttribute('href'))"
    )
    assert reached[:-1] == links and len(set(links)) == len(links)
    page.keyboard.type("denoiser guo")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(SHOWN)).to_have_id("relation-14")
    assert page.evaluate("document.activeElement.id") == "relation-14"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#relation-14"
    badge(page, 8).focus()
    width = badge(page, 8).locator("circle").evaluate("circle => getComputedStyle(circle).strokeWidth")
    assert float(width.removesuffix("px")) >= 4  # the focus is seen
    page.keyboard.press("Enter")
    expect(page.locator(SHOWN)).to_have_id("relation-8")


def test_a_broken_theorem_is_seen_at_once(page, broken):
    page.goto(broken.url())
    verdict = page.locator("#verdict")
    expect(verdict).to_contain_text("1 of 3 fails: 13")
    box = verdict.bounding_box()
    assert box is not None and box["y"] < 200
    assert badge(page, 13).locator("path").count() == 1 and badge(page, 1).locator("circle").count() == 1
    assert (
        page.locator('.wide-map .edge[data-id="13"] .line').evaluate(
            "p => getComputedStyle(p).strokeDasharray"
        )
        != "none"
    )
    assert badge(page, 13).get_attribute("aria-label") == "13. diffusion – hierarchical VAE: FAILS"
    verdict.locator("a").click()
    shown = page.locator(SHOWN)
    expect(shown.locator("h2")).to_contain_text("✗ FAILS")
    assert 0 < shown.locator("tbody.fails").count() < shown.locator("tbody").count()
    page.locator("#filter").fill("fails")
    assert page.locator(".index li:visible").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS, ids=str)
def test_labels_are_legible_and_apart(page, atlas, scheme, screen, tmp_path):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": screen[0], "height": screen[1]})
    page.goto(atlas.url("#relation-27"))
    labels = page.locator(".map text:visible").evaluate_all(
        """all => all.map(each => {const b = each.getBoundingClientRect(), s = each.getScreenCTM().a;
        const size = s * parseFloat(getComputedStyle(each).fontSize);
        return [each.textContent, b.left, b.top, b.right, b.bottom, size]})"""
    )
    assert len(labels) > 50
    for (one, l, t, r, b, size), (two, p, q, v, u, _) in itertools.combinations(labels, 2):
        assert size >= 9.5, (one, size)
        assert r <= p + 1 or v <= l + 1 or b <= q + 5 or u <= t + 5, (
            one,
            two,
        )  # a line box is taller than its letters
    outside = page.locator(".map .node:visible").evaluate_all(
        """all => all.filter(node => {const box = node.querySelector('rect').getBoundingClientRect();
        return [...node.querySelectorAll('text')].some(text => {const b = text.getBoundingClientRect();
        return b.left < box.left || b.right > box.right})}).map(node => node.dataset.family)"""
    )
    assert not outside
    assert page.evaluate("document.scrollingElement.scrollWidth") <= screen[0]
    page.screenshot(path=tmp_path / f"{screen[0]}-{scheme}.png", full_page=True)
    ground, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    bright = [sum(map(int, colour.removeprefix("rgb(").rstrip(")").split(","))) for colour in (ground, ink)]
    assert (bright[0] > bright[1] + 400) is (scheme == "light") and abs(bright[0] - bright[1]) > 400


def test_on_a_narrow_screen_a_click_leads_to_the_theorem_and_back(page, atlas):
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(atlas.url())
    badge(page, 16).click()
    heading = page.locator(f"{SHOWN} h2")
    expect(heading).to_be_in_viewport()
    page.locator(f"{SHOWN} .back").click()
    expect(page.locator(".tall .map")).to_be_in_viewport()


def test_without_scripts_every_section_shows(browser, atlas):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(atlas.url())
    expect(tab.locator(".entry:visible")).to_have_count(tab.locator(".entry").count())
    expect(tab.locator(".copy:visible")).to_have_count(0)
    tab.locator('.wide-map .badge[data-id="20"]').first.click()
    expect(tab.locator("#relation-20 h2")).to_be_in_viewport()
    context.close()
