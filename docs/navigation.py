"""The navigation at the side of a page, in a time that does not grow with the square of the reference.

The theme asks for the tree of all pages anew on each page, and Sphinx then copies the entries of every class and
method of the reference, to drop them again. Here they are dropped once. Of the reference the packages are shown, and
the modules of the package that is being read.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx import addnodes

REFERENCE = "api/"
ROOT = "api/unigen"
SOURCES = "_modules/"


def titles(toc: nodes.Element, open_: bool) -> nodes.Element:
    """Return the table of contents of a page without what is on the page; with its own pages, if it is open."""
    short = toc.deepcopy()
    for item in short.children:
        if isinstance(item, nodes.Element) and len(item) > 1:
            inner = list(item.findall(addnodes.toctree)) if open_ else []
            if inner:
                item[1][:] = inner
            else:
                item.pop(1)
    return short


def opened(page: str) -> set[str]:
    """Return the packages whose modules are shown beside a page: those it is in, and the first."""
    parts = page.split(".")
    return {ROOT} | {".".join(parts[: i + 1]) for i in range(len(parts))}


class Navigation:
    """The tables of contents of all pages, shortened once: closed ones, and those of packages that may be open."""

    def __init__(self, tocs: dict[str, Any]) -> None:
        self.closed = {page: titles(toc, not page.startswith(REFERENCE)) for page, toc in tocs.items()}
        self.open = {page: titles(toc, True) for page, toc in tocs.items() if page.startswith(REFERENCE)}
        self.of_sources: dict[int, str] = {}

    def beside(self, page: str) -> dict[str, Any]:
        """Return the tables of contents from which the navigation of a page is made."""
        return self.closed | {name: self.open[name] for name in opened(page) if name in self.open}


def shorten(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Let the theme's question for the tree of all pages be answered from the short tables."""
    whole = context.get("toctree")
    if whole is None:
        return
    if not hasattr(app, "navigation"):
        app.navigation = Navigation(app.env.tocs)

    def toctree(**options: Any) -> str:
        depth, known = page.count("/"), app.navigation.of_sources
        if page.startswith(SOURCES) and depth in known:  # in no tree: the same beside all at one depth
            return known[depth]
        tocs = app.env.tocs
        app.env.tocs = app.navigation.beside(page)
        try:
            tree = whole(**options)
        finally:
            app.env.tocs = tocs
        if page.startswith(SOURCES):
            known[depth] = tree
        return tree

    context["toctree"] = toctree
