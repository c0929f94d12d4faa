"""The sections of the page of relations: one a theorem, one a family, and the one that explains how to read them."""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass

from unigen.errors import ArgumentError, MissingExtraError
from unigen.families import FAMILIES, term
from unigen.names import modules, resolve
from unigen.plots.page import picture
from unigen.plots.tex import formula_svg
from unigen.relations.evidence import FALSE_POSITIVE, Claim, Evidence
from unigen.relations.paths import ANY
from unigen.relations.relation import Relation

VERDICT = {
    True: '<span class="verdict holds">✓ holds</span>',
    False: '<span class="verdict fails">✗ FAILS</span>',
}
BACK = '<a class="back" href="#map">to the map</a>'


@dataclass(frozen=True)
class Finding:
    """A relation, what its worked example found, and its figure as HTML."""

    relation: Relation
    evidence: Evidence
    picture: str

    @property
    def families(self) -> tuple[str, ...]:
        """The families it links, in the field's words."""
        return tuple(map(term, self.relation.families))


def draw(relation: Relation, evidence: Evidence) -> Finding:
    """Draw a relation's figure, or say which package that needs.

    Args:
        relation: The theorem.
        evidence: What its ``check()`` found.

    Returns:
        Both, with the figure.
    """
    try:
        shown = picture(
            relation.figure(), f"figure of relation {relation.id}: {relation.name}", caption=False
        )
    except MissingExtraError as error:
        shown = f"<p>No figure: {html.escape(str(error))}</p>"
    return Finding(relation, evidence, shown)


def relation_section(found: Finding) -> str:
    """Return the section of a theorem: statement, formula, source, assumptions, numbers, figure, conversion, code."""
    each, title = found.relation, html.escape(f"{found.relation.id}. {found.relation.name}")
    families = " · ".join(f'<a href="#family-{name}">{name}</a>' for name in map(html.escape, found.families))
    assumed = "".join(f"<li>{html.escape(text)}</li>" for text in each.assumptions)
    return f"""<section class="entry" id="relation-{each.id}" tabindex="-1" data-title="{title}">{BACK}
<h2>{title} {VERDICT[found.evidence.holds]}</h2>
<p>{families}</p>
<p class="statement">{html.escape(_sentence(each.statement))}</p>
{_formula(each.latex)}
<p><cite>{html.escape(each.source)}</cite></p>
{f"<h3>Assumes</h3><ul>{assumed}</ul>" if assumed else ""}
<h3>Measured on the worked example</h3>{_example(each)}
{_claims(found.evidence.claims)}{_details(found.evidence.details)}
<h3>Figure</h3>{found.picture}
<h3>Conversion</h3>{_conversion(each)}
<h3>Code</h3>{_code(each)}
</section>"""


def _sentence(text: str) -> str:
    """Write a statement as a sentence: a capital, unless it begins with a symbol or a function, and a full stop."""
    if re.match(r"(?!log\b)[a-z]{2,}\b", text):
        text = text[0].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def _formula(latex: str) -> str:
    """Draw the formula; one that mathtext does not know stands as LaTeX."""
    try:
        return f'<div class="formula">{formula_svg(latex)}</div>'
    except ArgumentError:
        return f"<pre><code>{html.escape(latex)}</code></pre>"


def _first(text: str | None) -> str:
    """Return the first paragraph of a docstring."""
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())


def _example(each: Relation) -> str:
    """Say what the worked example does, and which numbers of it may be changed."""
    options = [
        f"{p.name}={p.default!r}"
        for p in inspect.signature(each.check).parameters.values()
        if p.default is not p.empty
    ]
    numbers = (
        f" <small>Its numbers: <code>{html.escape(', '.join(options))}</code>.</small>" if options else ""
    )
    said = html.escape(_first(each.check.__doc__))
    return f"<p>{said}{numbers}</p>" if said or numbers else ""


def _claims(claims: Sequence[Claim]) -> str:
    """Return the table of claims, each with its words above its numbers."""
    heads = "".join(f"<th>{head}</th>" for head in ("left", "", "right", "gap", "tolerance", "std. error"))
    bodies = ""
    for claim in claims:
        error = "–" if claim.stderr is None else f"{claim.stderr:.2g}"
        numbers = (
            f"{claim.left:.7g}", claim.sense, f"{claim.right:.7g}",
            f"{claim.gap:+.2g}", f"{claim.tolerance:.2g}", error,
        )  # fmt: skip
        cells = "".join(f"<td>{number}</td>" for number in numbers)
        bodies += (
            f'<tbody class="{"holds" if claim.holds else "fails"}"><tr><th scope="rowgroup" colspan="6">'
            f"{html.escape(claim.name)} {VERDICT[claim.holds]}</th></tr><tr>{cells}</tr></tbody>"
        )
    return f'<div class="wide"><table class="claims"><thead><tr>{heads}</tr></thead>{bodies}</table></div>'


def _details(details: dict[str, object]) -> str:
    """Return the further numbers of a check."""
    lines = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd>" for name, value in details.items()
    )
    return f"<dl>{lines}</dl>" if lines else ""


def _conversion(each: Relation) -> str:
    """Say which programs the theorem carries over, and how."""
    if not each.converts:
        return "<p>The theorem compares; it turns no program into another.</p>"
    pairs = [(html.escape(term(a)), html.escape(term(b))) for a, b in each.converts]
    lines = "".join(f'<li>{a} → {b}: <code>ug.convert(program, to="{b}")</code></li>' for a, b in pairs)
    said = _first(each.convert.__doc__).removeprefix("Return ").strip()
    return f"<p>{html.escape(said[:1].upper() + said[1:])}</p><ul>{lines}</ul>"


def _code(each: Relation) -> str:
    """Return the lines that reproduce the section, with a button to copy them, and the call on one's own programs."""
    lines = (
        "import unigen as ug", "", f"theorem = ug.relation({each.id})",
        "print(theorem.check())  # every claim, with its numbers",
        f'theorem.figure().savefig("relation-{each.id}.png")',
    )  # fmt: skip
    text = html.escape("\n".join(lines), quote=False)
    own = ""
    if type(each).check_programs is not Relation.check_programs:
        call = "ug.relate(program, data=x)" if len(each.families) == 1 else "ug.relate(a, b, x)"
        own = f"<p>On your own fitted programs and data: <code>{call}</code>.</p>"
    button = '<button type="button" class="copy">copy</button>'
    return f'<div class="code"><pre><code>{text}</code></pre>{button}</div>{own}'


def theorem_list(findings: Sequence[Finding]) -> str:
    """Return links to theorems with their verdicts."""
    lines = "".join(
        f'<li><a href="#relation-{f.relation.id}"><span class="number">{f.relation.id}</span>'
        f"<span>{html.escape(f.relation.name)}</span>{VERDICT[f.evidence.holds]}</a></li>"
        for f in findings
    )
    return f'<ul class="theorems">{lines}</ul>'


def family_section(name: str, findings: Sequence[Finding]) -> str:
    """Return the section of a family: what it is, its special cases, its theorems."""
    about, text = what(name), html.escape(name)
    special = [each for each in FAMILIES if each != name and name != ANY and name in _bases(each)]
    cases = f"<p>Special cases: {', '.join(map(html.escape, special))}.</p>" if special else ""
    return f"""<section class="entry" id="family-{text}" tabindex="-1" data-title="{text}">{BACK}
<h2>{text}</h2>{f"<p>{html.escape(_sentence(about))}</p>" if about else ""}{cases}
<h3>Its theorems</h3>{theorem_list([f for f in findings if name in f.families])}
</section>"""


def what(name: str) -> str:
    """Say in a line what a family is; nothing of one that is not in the public names."""
    if name in FAMILIES:
        return FAMILIES[name][1]
    return _first(resolve(name).__doc__) if name in modules() else ""


def _bases(name: str) -> set[str]:
    """Return what the base classes of a family are called."""
    return {term(base.__name__) for base in resolve(name).__mro__[1:]}


ABOUT = f"""<section class="entry" id="about" tabindex="-1" data-title="Relations">
<h2>How to read this page</h2>
<p>Choose a theorem on the map or in the list, by mouse or by keyboard: its statement, formula, source and assumptions
appear here, with what its worked example measured, a figure, what it converts, and the code that reproduces all this. A
family lists its theorems.</p>
<ul><li>A number on a line is a theorem between two families; a number inside a box is one about that family alone.</li>
<li>A disc holds. <b>A red diamond on a broken line fails.</b> A dashed line joins a special case to its family.</li>
<li>Every claim compares two numbers, found by different routes. It holds if their gap is within the tolerance, which is
rounding or discretisation where both are deterministic, and follows from the standard error where one is random: a true
claim is then reported as failing with a chance of {FALSE_POSITIVE:.0e}.</li></ul>
</section>"""
