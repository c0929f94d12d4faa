"""Plain text, as docstrings are written, turned into Markdown that reads the same."""

from __future__ import annotations

import inspect
import re

CODE = re.compile(r"(``.+?``|`[^`]+`)")
MARK = re.compile(r"[\\*_|<>\[\]$`]")


def escape(text: str) -> str:
    """Return plain text as Markdown that reads the same; what stands between backticks is code in both."""
    parts = CODE.split(text)
    parts[::2] = [MARK.sub(r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def text_of(docstring: str) -> str:
    """Return a docstring as Markdown: prose is escaped, indented lines are kept as they are."""
    return "\n\n".join(_paragraph(each) for each in inspect.cleandoc(docstring).split("\n\n"))


def _paragraph(text: str) -> str:
    """Escape the prose of a paragraph, and make blocks of the indented lines in it."""
    parts: list[tuple[bool, list[str]]] = []
    for line in text.splitlines():
        indented = line.startswith("    ")
        if not parts or parts[-1][0] != indented:
            parts.append((indented, []))
        parts[-1][1].append(line)
    return "\n\n".join(_block(lines) if kept else escape("\n".join(lines)) for kept, lines in parts)


def _block(lines: list[str]) -> str:
    return f"```text\n{inspect.cleandoc(chr(10).join(lines))}\n```"


def first_sentence(thing: object) -> str:
    """Return the first paragraph of an object's docstring, on one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
