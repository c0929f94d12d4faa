"""Every Python block of the README, the guide and the families, page by page, in one namespace and an empty folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import unigen as ug
from unigen.inference.record import Record
from unigen.program import Program

ROOT = Path(__file__).parent.parent
GUIDE = sorted((ROOT / "docs" / "guide").glob("*.md"))
FAMILIES = sorted((ROOT / "docs" / "families").glob("*.md"))
PAGES = [ROOT / "README.md", *GUIDE, *FAMILIES]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STEPS = 3  # a page is read with thousands of steps, and tested with these


def blocks(path: Path) -> list[tuple[int, str]]:
    """Return (line of the first statement, source) of each Python block of a page."""
    text = path.read_text(encoding="utf-8")
    return [(text.count("\n", 0, found.start(1)) + 1, found.group(1)) for found in FENCE.finditer(text)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``ug.fit`` take a few steps, whatever a page asks for; a page calls it by that name."""
    fit = ug.fit

    def short(program: Program, data: Any, **options: Any) -> Record:
        if "epochs" in options:
            options["epochs"] = 1
        else:
            options["steps"] = min(options.get("steps") or STEPS, STEPS)
        return fit(program, data, **options)

    monkeypatch.setattr(ug, "fit", short)


@pytest.mark.parametrize(
    "path", [page for page in PAGES if blocks(page)], ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_page_runs(path: Path, small: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    namespace: dict[str, Any] = {"__name__": f"guide_{path.stem}"}
    for line, source in blocks(path):
        padded = "\n" * (line - 1) + source  # a traceback then names the line of the page
        exec(compile(padded, str(path), "exec"), namespace)


def test_blocks_are_found_and_numbered(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# A\n\n```python\na = 1\n```\n\n```sh\nls\n```\n\n```python\n\nb = 2\n```\n")
    assert blocks(page) == [(4, "a = 1\n"), (12, "\nb = 2\n")]


def test_no_block_escapes():
    """A block of Python that is announced in another way (```py, ``` python, ~~~) would not be run."""
    other = re.compile(r"^(?:```\s+py\w*|```py\b|```Python|~~~.*|    >>> .*)$", re.MULTILINE)
    for page in PAGES:
        odd = other.findall(page.read_text(encoding="utf-8"))
        assert not odd, f"{page.name}: {odd}"


def test_every_guide_page_is_in_the_table_of_contents():
    listed = set(re.findall(r"^guide/(\w+)$", (ROOT / "docs" / "index.md").read_text(), re.MULTILINE))
    assert listed == {page.stem for page in GUIDE}
