"""A page for every relation, from the relation itself: statement, assumptions, evidence, figure, conversions, code.

The worked examples run while the pages are written, and a check that fails stops the build.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from family_pages import ALSO, conversions, family_links, file_of
from plain_text import escape, first_sentence, text_of

import unigen
from unigen.plots.atlas import draw_atlas
from unigen.relations.atlas import atlas
from unigen.relations.evidence import FALSE_POSITIVE, Claim, Evidence
from unigen.relations.relation import Relation, all_relations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110
ARGUMENT = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
HEAD = """# Relations

A relation is a theorem between families, as an object: it states itself, measures itself on a worked example and on
your own programs, and converts parameters where the theorem licenses it. Each page is written by its relation, and the
numbers on it were computed when the page was built. [Relate and verify](../guide/relate.md) says how to use them.

![The families and the theorems between them](figures/atlas.png)
"""


class FailedRelation(Exception):
    """The worked example of a relation does not hold, so that its page must not be written."""


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


def evidence_section(evidence: Evidence) -> str:
    """Return the table of claims, and the further numbers."""
    lines = [
        "| claim | left | | right | gap | tolerance | standard error | verdict |",
        "|---|---|---|---|---|---|---|---|",
        *(claim_row(claim) for claim in evidence.claims),
        "",
    ]
    if evidence.details:
        lines += [
            f"* {escape(name.replace('_', ' '))}: `{value}`" for name, value in evidence.details.items()
        ]
        lines.append("")
    lines.append(
        "Without a standard error the tolerance is that of rounding or discretisation; with one it is the quantile"
        f" of the error at which a true claim is called false with probability {FALSE_POSITIVE:.0e}, and a known"
        " bias where there is one."
    )
    return "\n".join(lines)


def parameters_section(relation: Relation) -> str:
    """Return what can be changed in the worked example: name, default, meaning."""
    known = dict(ARGUMENT.findall(inspect.getdoc(type(relation).check) or ""))
    rows = [
        f"| `{name}` | `{parameter.default!r}` | {escape(' '.join(known.get(name, '').split()))} |".replace(
            "'", "’"
        )
        for name, parameter in inspect.signature(relation.check).parameters.items()
    ]
    return "\n".join(["| parameter | default | |", "|---|---|---|", *rows])


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


def relation_page(relation: Relation, evidence: Evidence) -> str:
    """Return the page of a relation.

    Raises:
        FailedRelation: The evidence does not hold.
    """
    if not evidence.holds:
        raise FailedRelation(str(evidence))
    name, module, also = file_of(relation), type(relation).__module__, ALSO.get(relation.id, ())
    doc = inspect.getdoc(inspect.getmodule(type(relation))) or ""
    figure_words = first_sentence(type(relation).figure)
    if type(relation).figure is Relation.figure:
        figure_words = "The claims, each gap in units of its tolerance."
    parts = [
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
        text_of(doc.partition("\n\n")[2]),
        "",
        f"![{escape(relation.name)}](figures/{name}.png)",
        "",
        escape(figure_words.replace("Draw ", "Drawn: ", 1)),
        "",
        "## Evidence",
        "",
        escape(first_sentence(type(relation).check)),
        "",
        evidence_section(evidence),
        "",
        "```python",
        "import unigen as ug",
        "",
        f"print(ug.relation({relation.id}).check())",
        f'ug.relation({relation.id}).figure().savefig("{name}.png")',
        "```",
        "",
        "With other parameters:",
        "",
        parameters_section(relation),
        "",
        *own_section(relation),
        *conversion_section(relation),
        f"Source code: {{py:mod}}`{module}`",
        "",
    ]
    return "\n".join(parts)


def index_page(relations: Iterable[Relation]) -> str:
    """Return the list of all relations."""
    relations = list(relations)
    rows = [
        f"| {each.id} | [{escape(each.name)}]({file_of(each)}.md) | {escape(each.statement)} "
        f"| {family_links((*each.families, *ALSO.get(each.id, ())), '../families/')} |"
        for each in relations
    ]
    table = ["| | relation | statement | families |", "|---|---|---|---|", *rows]
    tree = ["```{toctree}", ":hidden:", ":maxdepth: 1", "", *(file_of(each) for each in relations), "```"]
    return "\n".join([HEAD, *table, "", *tree, ""])


def write(target: Path, text: str) -> None:
    """Write a page, unless it is as it should be: an untouched page is not built again."""
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        target.write_text(text, encoding="utf-8")


def fingerprint() -> str:
    """Return a digest of all that the pages are made from: the package, the two files that write them, and torch."""
    package, here = Path(unigen.__file__).parent, Path(__file__)
    sources = [
        *sorted(package.rglob("*.py")),
        here,
        *map(here.with_name, ("family_pages.py", "plain_text.py")),
    ]
    digest = hashlib.sha256(torch.__version__.encode())
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def write_relations(folder: Path) -> None:
    """Write every relation's page and figure, the list of them, and the atlas; drop the pages of what is gone.

    Nothing runs where the pages are those of the present code.

    Raises:
        FailedRelation: A worked example does not hold.
    """
    record, now = folder / "fingerprint", fingerprint()
    if record.exists() and record.read_text() == now:
        return
    figures, relations = folder / "figures", all_relations()
    figures.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        for each in relations:
            write(folder / f"{file_of(each)}.md", relation_page(each, each.check()))
            save(each.figure(), figures / f"{file_of(each)}.png")
        save(draw_atlas(atlas(), label="label"), figures / "atlas.png")
    write(folder / "index.md", index_page(relations))
    for old in folder.glob("*.md"):
        if old.stem not in {"index", *(file_of(each) for each in relations)}:
            old.unlink()
    record.write_text(now)


def save(figure: Figure, target: Path) -> None:
    """Write a figure, and let go of it."""
    from matplotlib import pyplot

    figure.savefig(target, dpi=DPI)
    pyplot.close(figure)
