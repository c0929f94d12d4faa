"""The reference: a page for every module found, and plain-text docstrings made safe for reStructuredText.

Docstrings in unigen are plain text with Google sections. In them ``(N, *event)``, ``p(x | z)`` and ``x_`` mean what
they say, and an indented block is an equation; both would be markup in reStructuredText.
"""

from __future__ import annotations

import re
from pathlib import Path

SECTION = re.compile(
    r"(Args|Arguments|Attributes|Example|Examples|Note|Notes|Raises|References|Returns|Warning|Yields):\s*$"
)
BULLET = re.compile(r"\s*([*+-]|\d+[.)]|\.\.|:)\s")
LITERAL = re.compile(r"(``.+?``|:\w+:`[^`]+`|`[^`]+`)")
SINGLE_COLON = re.compile(r"(?<!:):(?!:)")
TRAILING_UNDERSCORE = re.compile(r"_(?!\w)")
SKIPPED = ("__init__", "__main__")


def write_reference(package: Path, folder: Path) -> None:
    """Write a page for the package, each package inside it and each module, and drop the pages of what is gone."""
    pages = {}
    for path in [package, *sorted(package.rglob("*"))]:
        package_or_module = (path.suffix == ".py" and path.stem not in SKIPPED) or (
            path / "__init__.py"
        ).exists()
        if package_or_module:
            pages[name_of(path, package)] = page(path, package)
    for old in folder.glob("*.rst"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        target = folder / f"{name}.rst"
        if not target.exists() or target.read_text() != text:  # an untouched page is not built again
            target.write_text(text)


def name_of(path: Path, package: Path) -> str:
    return ".".join(path.relative_to(package.parent).with_suffix("").parts)


def page(path: Path, package: Path) -> str:
    name = name_of(path, package)
    title = name.removeprefix(f"{package.name}.").replace("_", r"\_")
    options = "   :no-members:\n" if path.is_dir() else ""  # names live in the files that define them
    text = f"{title}\n{'=' * len(title)}\n\n.. automodule:: {name}\n{options}"
    if path.is_dir():
        inside = [p for p in sorted(path.iterdir()) if p.suffix == ".py" and p.stem not in SKIPPED]
        inside += [p for p in sorted(path.iterdir()) if (p / "__init__.py").exists()]
        entries = "".join(f"   {name_of(p, package)}\n" for p in inside)
        text += f"\n.. toctree::\n   :maxdepth: 1\n\n{entries}" if entries else ""
    return text


def escape_markup(app, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Turn plain text into reStructuredText in place: equations become literal blocks, the rest is escaped."""
    done: list[str] = []
    state = "text"  # text before the first section, or a section, a doctest, an equation
    section = False
    bullet = False
    for line in lines:
        blank, indented = not line.strip(), line.startswith((" ", "\t"))
        if state == "doctest" and not blank:
            done.append(line)
            continue
        if state == "equation" and (blank or indented):
            done.append(line)
            continue
        if state in ("doctest", "equation"):
            done += [""] if state == "equation" and done[-1].strip() else []
            state = "text"
        section = section or bool(SECTION.match(line))
        bullet = not blank and (bool(BULLET.match(line)) or (bullet and indented))
        if line.lstrip().startswith(">>>"):
            state = "doctest"
            done.append(line)
        elif indented and not section and not bullet:
            state = "equation"
            announced = next((text for text in reversed(done) if text.strip()), "").rstrip().endswith("::")
            done += ["", line] if announced else ["", "::", "", line]
        else:
            done.append(escape(line))
    if what in ("property", "attribute") and done:
        done[0] = no_type(done[0])
    lines[:] = done


def no_type(line: str) -> str:
    """Put a sign that looks alike in place of colons, or else napoleon takes what stands before it for a type."""
    parts = LITERAL.split(line)
    parts[::2] = [SINGLE_COLON.sub(r"\\ ∶", part) for part in parts[::2]]
    return "".join(parts)


def skip_foreign(app, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """Leave out what a module re-exports from another package: its docstring is not ours."""
    return True if not (getattr(obj, "__module__", None) or "unigen").startswith("unigen") else None


def escape(line: str) -> str:
    mark = BULLET.match(line)
    head, tail = (line[: mark.end()], line[mark.end() :]) if mark else ("", line)
    parts = LITERAL.split(tail)
    parts[::2] = [TRAILING_UNDERSCORE.sub(r"\\_", re.sub(r"([\\*|])", r"\\\1", part)) for part in parts[::2]]
    return head + "".join(parts)
