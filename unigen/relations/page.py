"""The atlas of relations as a page: one file with the map, every theorem, its numbers, its figure and its code."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unigen.errors import ArgumentError, EmptyDataError
from unigen.families import term
from unigen.inference.atomic_file import atomic_file, write_all
from unigen.plots.atlas_svg import atlas_svg
from unigen.plots.page import document
from unigen.relations.atlas import link
from unigen.relations.page_script import EARLY, LATE
from unigen.relations.page_sections import ABOUT, VERDICT, Finding, family_section, relation_section
from unigen.relations.page_style import STYLE
from unigen.relations.paths import family_graph

if TYPE_CHECKING:
    import networkx

ENDINGS = (".html", ".htm")
TALL = (3, (122.0, 118.0))  # columns and cells of the map on a narrow screen


def check_target(path: Path) -> None:
    """Refuse a file that cannot be written, before anything runs.

    Args:
        path: Where the page is to go.

    Raises:
        ArgumentError: It has another ending, its folder does not exist or cannot be written to, or it is no file.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ArgumentError(site="--html", got=path.name, expected="a file that ends in .html")
    if not path.parent.is_dir() or (path.exists() and not path.is_file()):
        raise ArgumentError(site="--html", got=str(path), expected="a file in a folder that exists")
    try:
        with tempfile.TemporaryFile(dir=path.resolve().parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ArgumentError:
    return ArgumentError(f"cannot write to {path}: {error.strerror}", site="--html", hint="another folder")


def write_page(findings: Sequence[Finding], path: Path) -> Path:
    """Write the page; the file appears whole, or stays as it was.

    Args:
        findings: The relations, as ``draw`` returns them.
        path: The file.

    Returns:
        The path.

    Raises:
        ArgumentError: The file cannot be written.
        EmptyDataError: There are no relations.
    """
    text = page(findings).encode()
    try:
        with atomic_file(path) as file:
            write_all(file, text)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def page(findings: Sequence[Finding]) -> str:
    """Return the page as text.

    Args:
        findings: The relations, as ``draw`` returns them.

    Raises:
        EmptyDataError: There are no relations.
    """
    if not findings:
        raise EmptyDataError(site="findings", got="no relations", expected="at least one")
    graph = _graph(findings)
    body = f"""<header><h1>How the families of generative models relate</h1>
<p>Theorems between families, each checked on a worked example by <code>unigen verify</code>.</p>
{_count(findings)}</header>
<main>
<div class="chart" id="map" tabindex="-1">
<div class="wide-map">{atlas_svg(graph)}</div><div class="tall">{atlas_svg(graph, *TALL)}</div>
<p>● holds &nbsp; <b>◆ fails</b> &nbsp; – – special case. A number inside a box: a theorem about that family alone.</p>
{_index(findings)}</div>
<div class="panel">{ABOUT}{"".join(map(relation_section, findings))}
{"".join(family_section(name, findings) for name in graph)}</div>
</main>"""
    return document("Relations · unigen", STYLE, body, early=EARLY, late=LATE)


def _graph(findings: Sequence[Finding]) -> networkx.MultiGraph:
    """Return the families that the relations name, with the relations and the special cases among them as edges."""
    import networkx

    graph = networkx.MultiGraph()
    for found in findings:
        link(
            graph, found.relation, id=found.relation.id, name=found.relation.name, holds=found.evidence.holds
        )
    for a, b, facts in family_graph().edges(data=True):
        if not facts["relations"] and term(a) in graph and term(b) in graph:
            graph.add_edge(term(a), term(b))
    return graph


def _count(findings: Sequence[Finding]) -> str:
    """Say how many hold, and name those that fail."""
    failing = [found.relation.id for found in findings if not found.evidence.holds]
    if not failing:
        every = f"All {len(findings)} theorems hold." if len(findings) > 1 else "The theorem holds."
        return f'<p id="verdict"><span class="verdict holds">✓ {every}</span></p>'
    names = ", ".join(f'<a href="#relation-{number}">{number}</a>' for number in failing)
    verb = "fails" if len(failing) == 1 else "fail"
    return f'<p id="verdict"><span class="verdict fails">✗ {len(failing)} of {len(findings)} {verb}: {names}</span></p>'


def _index(findings: Sequence[Finding]) -> str:
    """Return the list of theorems with its filter."""
    lines = ""
    for found in findings:
        each, verdict = found.relation, "holds" if found.evidence.holds else "fails"
        words = (
            str(each.id),
            each.name,
            *found.families,
            each.statement,
            each.source,
            *each.assumptions,
            verdict,
        )
        lines += (
            f'<li data-id="{each.id}" data-families="{html.escape(" ".join(found.families))}" '
            f'data-text="{html.escape(" ".join(words).lower())}"><a href="#relation-{each.id}" data-id="{each.id}">'
            f'<span class="number">{each.id}</span><span>{html.escape(each.name)}</span>'
            f"{VERDICT[found.evidence.holds]}</a></li>"
        )
    return (
        '<nav class="index" aria-label="Theorems"><form><label for="filter">Filter</label> <input type="search" '
        'id="filter" placeholder="word, author, family, number, fails" autocomplete="off"> '
        f'<output id="count" for="filter"></output></form><ol>{lines}</ol></nav>'
    )
