"""Sphinx configuration: Markdown pages, a reference page for every module of the package, warnings as errors."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
os.environ.setdefault("MPLBACKEND", "Agg")
warnings.filterwarnings("ignore", message=r"\s*ArviZ is undergoing a major refactor", category=FutureWarning)

from apidoc import escape_markup, skip_foreign, write_reference  # noqa: E402  (found through sys.path, in docs/)
from composition_table import composition_tables  # noqa: E402
from family_pages import family_substitutions  # noqa: E402
from family_table import family_list, family_table  # noqa: E402
from gallery import write_gallery  # noqa: E402
from navigation import shorten  # noqa: E402
from relation_pages import write_relations  # noqa: E402

project = "unigen"
author = "The unigen authors"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "unigen"
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "substitution"]
myst_substitutions = {  # what the code writes on the pages
    "families": family_table(),
    "family_list": family_list(),
    **composition_tables(),
    **family_substitutions(),
}
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings give symbol, shape and unit; the signature gives the types
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = ["Example"]
toc_object_entries_show_parents = "hide"

write_reference(ROOT / "unigen", Path(__file__).parent / "api")
write_relations(Path(__file__).parent / "relations")
write_gallery(Path(__file__).parent / "gallery.md")


def setup(app) -> None:
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("autodoc-process-docstring", escape_markup, priority=400)  # before napoleon
    app.connect("html-page-context", shorten, priority=400)  # before the theme
