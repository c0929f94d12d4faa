"""A page for every relation, from the relation itself: statement, assumptions, evidence, figure, conversions, code.

The worked examples run while the pages are written, and a check that fails stops the build.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from family_pages import ALSO, family_links, file_of
from plain_text import escape
from relation_sections import (
    conversion_section,
    evidence_section,
    figure_section,
    own_section,
    statement_section,
)

import unigen
from unigen.plots.atlas import draw_atlas
from unigen.relations.atlas import atlas
from unigen.relations.evidence import Evidence
from unigen.relations.relation import Relation, all_relations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110
PARTS = ("family_pages", "plain_text", "relation_sections")
HEAD = """# Relations

A relation is a theorem between families, as an object: it states itself, measures itself on a worked example and on
your own programs, and converts parameters where the theorem licenses it. Each page is written by its relation, and the
numbers on it were computed when the page was built. [Relate and verify](../guide/relate.md) says how to use them.

![The families and the theorems between them](figures/atlas.png)
"""


class FailedRelation(Exception):
    """The worked example of a relation does not hold, so that its page must not be written."""


def relation_page(relation: Relation, evidence: Evidence) -> str:
    """Return the page of a relation.

    Raises:
        FailedRelation: The evidence does not hold.
    """
    if not evidence.holds:
        raise FailedRelation(str(evidence))
    parts = [
        *statement_section(relation),
        *figure_section(relation, file_of(relation)),
        *evidence_section(relation, evidence, file_of(relation)),
        *own_section(relation),
        *conversion_section(relation),
        f"Source code: {{py:mod}}`{type(relation).__module__}`",
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
