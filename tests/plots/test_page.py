"""Pages: closed tags, embedded pictures that decode, a policy that allows the page's own scripts and nothing else."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from html.parser import HTMLParser

from PIL import Image

from unigen.plots.page import STYLE, document, picture
from unigen.plots.style import figure


class Tags(HTMLParser):
    """Checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_picture_is_a_png_in_the_page_with_its_text_escaped():
    text = picture(figure(2, 1), 'a "<b>')
    assert 'alt="a &quot;&lt;b&gt;"' in text and "<figcaption>" in text
    assert "<figcaption>" not in picture(figure(2, 1), "a", caption=False)
    found = re.search(r'src="data:image/png;base64,([^"]*)"', text)
    assert found is not None
    assert Image.open(io.BytesIO(base64.b64decode(found[1]))).format == "PNG"


def test_a_document_is_closed_and_allows_its_own_scripts_only():
    early, late = "let a = 1;", "let b = '<' + a;"
    text = document("A & B", ".x { color: red }", "<p>body</p>", early=early, late=late)
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert not tags.open and "<title>A &amp; B</title>" in text and text.startswith("<!doctype html>")
    for script in (early, late):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in text
    assert "default-src 'none'" in text and "script-src 'none'" in document("A", "", "")
    assert not re.search(r"https?:|@import|url\(", text.replace("http-equiv", ""))


def test_the_shared_style_is_legible_in_both_themes():
    """Text against paper: contrast at least 4.5 (WCAG 2, AA) in light and dark."""
    for root in re.findall(r":root \{([^}]*--[^}]*)\}", STYLE):
        colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", root))
        for name in ("ink", "soft", "accent", "good", "bad"):
            for ground in ("paper", "wash"):
                low, high = sorted((luminance(colours[name]), luminance(colours[ground])))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
