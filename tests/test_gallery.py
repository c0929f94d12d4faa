"""The gallery: every example has a record, of the script as it is, and the page shows both."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
DRAWING = """\"\"\"A line of text.\"\"\"
from PIL import Image
print("left 1, right 1")
Image.effect_noise((1200, 600), 90).save("small.png")  # savefig(
"""


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("gallery")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_record_is_that_of_the_script(script: Path, gallery: Any):
    assert gallery.complaint(script) is None, gallery.complaint(script)
    figure = gallery.RECORDS / f"{script.stem}.png"
    assert not figure.exists() or figure.stat().st_size <= gallery.LARGEST


def test_no_record_outlives_its_script(gallery: Any):
    known = {script.stem for script in SCRIPTS}
    assert {path.stem for path in gallery.RECORDS.iterdir()} <= known


def test_a_changed_script_is_noticed_and_refreshed(gallery: Any, tmp_path: Path):
    script, records = tmp_path / "small.py", tmp_path / "records"
    script.write_text(DRAWING)
    assert "no record" in gallery.complaint(script, records)
    gallery.refresh(script, records)
    assert gallery.complaint(script, records) is None
    assert (records / "small.png").stat().st_size <= gallery.LARGEST
    section = gallery.entry(script, records)
    assert "A line of text." in section and "left 1, right 1" in section and "gallery/small.png" in section
    (records / "small.png").unlink()
    assert "no figure" in gallery.complaint(script, records)
    script.write_text(DRAWING.replace("left 1", "left 2"))
    assert "make gallery" in gallery.complaint(script, records)


def test_a_failing_script_leaves_the_record_as_it_is(gallery: Any, tmp_path: Path):
    script = tmp_path / "small.py"
    script.write_text('"""Fail."""\nraise SystemExit(3)\n')
    with pytest.raises(RuntimeError, match=r"small\.py failed"):
        gallery.refresh(script, tmp_path / "records")
    assert not (tmp_path / "records").exists()


def test_the_page_has_every_script(gallery: Any):
    page = gallery.gallery_page()
    for script in SCRIPTS:
        assert f"literalinclude}} ../examples/{script.name}" in page
