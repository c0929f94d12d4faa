"""The report's style sheet, with the one all pages share, is closed and fetches nothing."""

from __future__ import annotations

import re

from unigen.plots import page
from unigen.study import style

STYLE = page.STYLE + style.STYLE


def test_braces_close_and_nothing_is_fetched():
    assert STYLE.count("{") == STYLE.count("}")
    assert not re.search(r"url\(|@import|https?:", STYLE)


def test_every_variable_is_defined_in_both_themes():
    used = set(re.findall(r"var\((--[a-z]+)\)", STYLE))
    roots = re.findall(r":root \{([^}]*--[^}]*)\}", STYLE)
    assert len(roots) == 2
    for root in roots:
        assert used <= set(re.findall(r"(--[a-z]+):", root))
