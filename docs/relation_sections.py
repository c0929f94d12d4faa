"""The sections of a relation's page: what it states, its picture, its evidence, and the code to use it."""

from __future__ import annotations

import inspect
import re

from family_pages import ALSO, conversions, family_links
from plain_text import escape, first_sentence, text_of

from unigen.relations.evidence import FALSE_POSITIVE, Claim, Evidence
from unigen.relations.relation import Relation

ARGUMENT = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
CLAIMS = "| claim | left | | right | gap | tolerance | standard error | verdict |"


def statement_section(relation: Relation) -> list[str]:
    """Return title, theorem, formula, families, source, assumptions, and the reason that its file gives."""
    also = ALSO.get(relation.id, ())
    reason = (inspect.getdoc(inspect.getmodule(type(relation))) or "").partition("\n\n")[2]
    return [
        f"# {relation.id}. {escape(relation.name)}",
        "",
        f"**Theorem**: {escape(relation.statement)}.",
        "",
        f"$$\n{relation.latex}\n$$",
        "",
        f"* Measured on: {family_links(relation.families, '../families/')}",
        *([f"* Speaks of: {family_links(also, '../families/')}"] if also else []),
        f"* Source: {escape(relation.source)}",
        *(f"* Assumes: {escape(each)}" for each in relation.assumptions),
        "",
        "## Why",
        "",
        text_of(reason),
        "",
    ]


def figure_section(relation: Relation, file: str) -> list[str]:
    """Return the picture, with what is drawn."""
    words = first_sentence(type(relation).figure).replace("Draw ", "Drawn: ", 1)
    if type(relation).figure is Relation.figure:
        words = "The claims, each gap in units of its tolerance."
    return [f"![{escape(relation.name)}](figures/{file}.png)", "", escape(words), ""]


def number(value: float | None, digits: int = 7) -> str:
    """Return a number with a minus sign, at which no line is broken."""
    return "" if value is None else f"{value:.{digits}g}".replace("-", "−")


def claim_row(claim: Claim) -> str:
    """Return a claim as a row of the table."""
    cells = (
        escape(claim.name),
        number(claim.left),
        claim.sense,
        number(claim.right),
        number(claim.gap, 2),
        number(claim.tolerance, 2),
        number(claim.stderr, 2),
        "holds" if claim.holds else "**fails**",
    )
    return f"| {' | '.join(cells)} |"


def evidence_section(relation: Relation, evidence: Evidence, file: str) -> list[str]:
    """Return the worked example: its claims, further numbers, the code that runs it, what can be changed in it."""
    details = [f"* {escape(name.replace('_', ' '))}: `{value}`" for name, value in evidence.details.items()]
    return [
        "## Evidence",
        "",
        escape(first_sentence(type(relation).check)),
        "",
        CLAIMS,
        "|---|---|---|---|---|---|---|---|",
        *(claim_row(claim) for claim in evidence.claims),
        "",
        *details,
        "",
        "Without a standard error the tolerance is that of rounding or discretisation; with one it is the quantile"
        f" of the error at which a true claim is called false with probability {FALSE_POSITIVE:.0e}, and a known"
        " bias where there is one.",
        "",
        "```python",
        "import unigen as ug",
        "",
        f"print(ug.relation({relation.id}).check())",
        f'ug.relation({relation.id}).figure().savefig("{file}.png")',
        "```",
        "",
        "With other parameters:",
        "",
        parameters_table(relation),
        "",
    ]


def parameters_table(relation: Relation) -> str:
    """Return what can be changed in the worked example: name, default, meaning."""
    known = dict(ARGUMENT.findall(inspect.getdoc(type(relation).check) or ""))
    rows = [
        f"| `{name}` | `{parameter.default!r}` | {escape(' '.join(known.get(name, '').split()))} |".replace(
            "'", "’"
        )
        for name, parameter in inspect.signature(relation.check).parameters.items()
    ]
    return "\n".join(["| parameter | default | |", "|---|---|---|", *rows])


def own_section(relation: Relation) -> list[str]:
    """Return the code that measures the theorem on one's own programs."""
    lines = ["## On your own programs", ""]
    if type(relation).check_programs is Relation.check_programs:
        return [*lines, "This theorem has a worked example and nothing to measure on two programs.", ""]
    alone = len(relation.families) == 1
    call = "ug.relate(program, data=x)" if alone else "ug.relate(a, b, x)"
    arguments = "program, program, x" if alone else "a, b, x"
    who = "`program` is one" if alone else "`a` and `b` are of two"
    doc = first_sentence(type(relation).check_programs)
    return [
        *lines,
        escape(doc),
        "",
        "```python",
        f"print({call})  # every theorem about {'this program' if alone else 'the two'}, this one among them",
        f"print(ug.relation({relation.id}).check_programs({arguments}))  # this one alone",
        "```",
        "",
        f"Here {who} of the families above, fitted, and `x` is data.",
        "",
    ]


def conversion_section(relation: Relation) -> list[str]:
    """Return what the theorem converts."""
    found = conversions(relation)
    if not found:
        return []
    rows = [
        f'| `{start}` | `{to}` | `ug.convert(program, to="{to}")` | {escape(needs or "–")} |'
        for start, to, needs in found
    ]
    return [
        "## Convert",
        "",
        escape(first_sentence(type(relation).convert)),
        "",
        "| from | to | | needs |",
        "|---|---|---|---|",
        *rows,
        "",
        "Where an assumption fails on a program, the error names it.",
        "",
    ]
