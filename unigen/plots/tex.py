r"""LaTeX formulas as inline SVG: drawn by matplotlib's mathtext, so that a page needs neither a network nor a script.

Mathtext knows a part of LaTeX; what else the relations use is rewritten: \tfrac12 as \frac{1}{2}, \mathcal H with
braces, \le and \ge as \leq and \geq, \Big[ … \Big] as \left[ … \right], and thin spaces that TeX sets by itself.
"""

from __future__ import annotations

import html
import re

from unigen.errors import ArgumentError

EM = 100  # units of a drawing to an em, so that whole numbers are fine enough
BREAKS = re.compile(r"\\qquad|\\quad|\\;\\Rightarrow\\;")
REWRITES = (
    (r"\\(t?frac)\s*(\w)\s*(\w)", r"\\\1{\2}{\3}"),
    (r"\\frac(?![a-z])", r"\\dfrac"),  # \frac stands tall here, \tfrac does not
    (r"\\tfrac", r"\\frac"),
    (r"\\(mathcal|mathbb|mathrm)\s+(\w)", r"\\\1{\2}"),
    (r"\\le(?![a-z])", r"\\leq"),
    (r"\\ge(?![a-z])", r"\\geq"),
    (r"\\[Bb]ig+\s*([\[({])", r"\\left\1"),
    (r"\\[Bb]ig+\s*([\])}])", r"\\right\1"),
    (r"\^(\\top|\*)", r"^{\\!\1\\!}"),  # spaced by mathtext as if they stood between two terms
    (r"(\\(?:sum|prod)(?:[_^](?:\w|{(?:[^{}]|{[^{}]*})*}))*)(?![_^])", r"\1\\,"),
    (r"(\\int(?:[_^](?:\w|{(?:[^{}]|{[^{}]*})*}))*)(?![_^])", r"\1\\;"),
    (r"(?<=[\w}])\s*(\\(?:log|det)(?![a-z]))", r"\\,\1"),
)


def formula_svg(latex: str) -> str:
    r"""Draw a formula as SVG of the size and colour of the text around it, one drawing a part that \quad sets apart.

    Args:
        latex: The formula, without dollar signs.

    Returns:
        A span with the drawings; its label, for those who do not see it, is the LaTeX.

    Raises:
        ArgumentError: The formula uses what mathtext cannot draw, or is empty.

    Example:
        >>> formula_svg(r"\tfrac12 x^\top x").count("<svg ")
        1
        >>> formula_svg(r"a = b, \quad c = d").count("<svg ")
        2
    """
    label, drawn = html.escape(latex, quote=True), "".join(map(_draw, _parts(latex)))
    if not drawn:
        raise ArgumentError("nothing to draw", argument="latex", got=repr(latex))
    return f'<span class="formula" role="img" aria-label="{label}">{drawn}</span>'


def _parts(latex: str) -> list[str]:
    """Split a formula where a line may break, and keep an arrow at the head of its part."""
    for pattern, replacement in REWRITES:
        latex = re.sub(pattern, replacement, latex)
    heads = ["", *(r"\Rightarrow\;" if "Rightarrow" in found else "" for found in BREAKS.findall(latex))]
    parts = [part.strip() for part in BREAKS.split(latex)]
    return [head + part for head, part in zip(heads, parts, strict=True) if part]


def _draw(part: str) -> str:
    """Draw one part, its baseline on that of the text."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    try:
        path = TextPath((0, 0), f"${part}$", size=EM, prop=FontProperties(math_fontfamily="cm"))
    except ValueError as error:
        said = str(error).strip().splitlines()[-1]
        raise ArgumentError(
            f"mathtext cannot draw this formula: {said}", argument="latex", got=part
        ) from error
    if not len(path.vertices):
        return ""
    box = path.get_extents()
    left, top = round(box.x0) - 2, -round(box.y1) - 2
    width, height = round(box.width) + 4, round(box.height) + 4
    drop = (top + height) / EM
    return (
        f'<svg viewBox="{left} {top} {width} {height}" style="width:{width / EM:.2f}em;'
        f'vertical-align:{-drop:.2f}em" aria-hidden="true"><path fill="currentColor" d="{_outline(path)}"/></svg>'
    )


def _outline(path: object) -> str:
    """Write the outline of the glyphs in whole units, y downwards."""
    letters = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}
    written, last = [], ""
    for points, code in path.iter_segments(simplify=False, curves=True):  # pyright: ignore[reportAttributeAccessIssue]
        letter = letters[int(code)]
        numbers = [] if letter == "Z" else [round(v * sign) for v, sign in zip(points, (1, -1) * 3)]  # noqa: B905
        text = " ".join(map(str, numbers)).replace(" -", "-")
        joint = "" if letter != last or letter in "MZ" else ("" if text.startswith("-") else " ")
        written.append((joint if joint or (letter == last and letter not in "MZ") else letter) + text)
        last = letter
    return "".join(written)
