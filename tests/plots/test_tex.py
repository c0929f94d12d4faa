"""Formulas as SVG: that of every relation draws, read back by another parser; what cannot be drawn is refused."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from unigen.errors import ArgumentError
from unigen.plots.tex import EM, formula_svg
from unigen.relations.relation import all_relations

NUMBERS = {"M": 2, "L": 2, "Q": 4, "C": 6, "Z": 0}


def drawings(latex: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(formula_svg(latex)))


def points(outline: str) -> list[tuple[int, int]]:
    """Read an outline back: letters, each with a multiple of its count of whole numbers."""
    found = []
    for letter, text in re.findall(r"([A-Z])([^A-Z]*)", outline):
        numbers = [int(number) for number in re.findall(r"-?\d+", text)]
        each = NUMBERS[letter]
        assert not numbers if each == 0 else numbers and len(numbers) % each == 0
        found += list(zip(numbers[::2], numbers[1::2], strict=True))
    return found


@pytest.mark.parametrize("relation", all_relations(), ids=lambda each: str(each.id))
def test_the_formula_of_every_relation_draws_inside_its_frame(relation):
    parts = drawings(relation.latex)
    assert len(parts) >= 1 + relation.latex.count(r"\quad")
    for svg in parts:
        left, top, width, height = map(int, svg.get("viewBox", "").split())
        at = points(svg[0].get("d", ""))
        assert len(at) > 20
        assert all(left <= x <= left + width and top <= y <= top + height for x, y in at)
        assert svg[0].get("fill") == "currentColor"


def test_the_outline_is_that_of_mathtext():
    (svg,) = drawings("x = y")
    path = TextPath((0, 0), "$x = y$", size=EM, prop=FontProperties(math_fontfamily="cm"))
    box, at = path.get_extents(), points(svg[0].get("d", ""))
    assert min(x for x, _ in at) == pytest.approx(box.x0, abs=1)
    assert -min(y for _, y in at) == pytest.approx(box.y1, abs=1)
    assert sum(letter == "M" for letter in svg[0].get("d", "")) == sum(code == 1 for code in path.codes)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (r"\tfrac12 x", r"\frac{1}{2} x"),
        (r"\mathcal H \le 1", r"\mathcal{H} \leq 1"),
        (r"\Big[ x \Big]", r"\left[ x \right]"),
        (r"\frac ab", r"\frac{a}{b}"),
    ],
)
def test_what_mathtext_lacks_is_rewritten(short, long):
    one, other = ([svg.get("viewBox") for svg in drawings(text)] for text in (short, long))
    if short.startswith(r"\tfrac"):  # it stands lower than \frac
        assert int(one[0].split()[3]) < int(other[0].split()[3])
    else:
        assert one == other


def test_the_label_is_the_formula():
    assert ElementTree.fromstring(formula_svg(r"a < b > |c'|")).get("aria-label") == r"a < b > |c'|"


@pytest.mark.parametrize("latex", ["", r"\quad", r"\nonsense{x}", "{x"])
def test_what_cannot_be_drawn_is_refused(latex):
    with pytest.raises(ArgumentError, match=r"mathtext|nothing"):
        formula_svg(latex)
