"""The gallery: every script of ``examples/`` with its figure, its source and what it printed.

Figures and printed text are kept in ``docs/gallery/``, since the scripts take minutes as they are meant. ``make
gallery`` runs those whose records are not of the present script. The first line of a record is the digest of the
script, so that text, code and picture cannot part unseen.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from plain_text import escape, text_of

DOCS = Path(__file__).parent
EXAMPLES = DOCS.parent / "examples"
RECORDS = DOCS / "gallery"
WIDEST = 900  # pixels
LARGEST = 60_000  # bytes of a figure
COLOURS = (256, 128, 64, 32)
HEAD = """# Gallery

Short scripts on the library alone, each with its figure, what it printed and its source. They are in `examples/` and
run in the tests, made small by `--steps`; figures and numbers below are those of the scripts as they stand here, each
run as it is meant.
"""


def scripts() -> list[Path]:
    """Return the examples, by name."""
    return sorted(EXAMPLES.glob("*.py"))


def digest(script: Path) -> str:
    """Return the first twelve digits of the SHA-256 of a script."""
    return hashlib.sha256(script.read_bytes()).hexdigest()[:12]


def draws(script: Path) -> bool:
    """Say whether a script saves a figure."""
    return "savefig(" in script.read_text(encoding="utf-8")


def complaint(script: Path, records: Path = RECORDS) -> str | None:
    """Say what is wrong with the record of a script, or return None."""
    record = records / f"{script.stem}.txt"
    if not record.exists():
        return f"{script.name} has no record: make gallery"
    if record.read_text(encoding="utf-8").partition("\n")[0] != digest(script):
        return f"{script.name} is not the script that printed its record: make gallery"
    if draws(script) and not (records / f"{script.stem}.png").exists():
        return f"{script.name} has no figure: make gallery"
    return None


def shrink(source: Path, target: Path) -> None:
    """Write a figure at most WIDEST pixels wide and LARGEST bytes long, by fewer colours and then fewer pixels."""
    from PIL import Image

    image = Image.open(source).convert("RGB")
    width = min(image.width, WIDEST)
    while True:
        size = (width, round(image.height * width / image.width))
        small = image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
        for colours in COLOURS:
            small.quantize(colours, dither=Image.Dither.NONE).save(target, optimize=True)
            if target.stat().st_size <= LARGEST:
                return
        width = width * 4 // 5


def refresh(script: Path, records: Path = RECORDS) -> None:
    """Run a script as it is meant, in an empty folder, and keep what it printed and drew.

    Raises:
        RuntimeError: It fails, prints nothing, or draws no ``<name>.png`` though it saves figures.
    """
    before = digest(script)
    environment = os.environ | {"MPLBACKEND": "Agg", "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(script)]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode or not done.stdout.strip():
            raise RuntimeError(f"{script.name} failed or printed nothing:\n{done.stdout}\n{done.stderr}")
        figure = Path(folder) / f"{script.stem}.png"
        if draws(script) and not figure.exists():
            found = ", ".join(sorted(each.name for each in Path(folder).iterdir())) or "nothing"
            raise RuntimeError(f"{script.name} was to write {figure.name} and wrote {found}")
        records.mkdir(exist_ok=True)
        if draws(script):
            shrink(figure, records / figure.name)
    (records / f"{script.stem}.txt").write_text(f"{before}\n{done.stdout.rstrip()}\n", encoding="utf-8")


def title_and_text(script: Path) -> tuple[str, str]:
    """Return the title of a script, the beginning of its docstring, and the docstring as Markdown."""
    docstring = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or script.stem
    return escape(re.split(r"[:.](?:\s|$)", docstring)[0].strip()), text_of(docstring)


def entry(script: Path, records: Path = RECORDS) -> str:
    """Return the section of one script."""
    title, text = title_and_text(script)
    lines = [f"## {title}", "", text, ""]
    if (records / f"{script.stem}.png").exists():
        lines += [f"```{{image}} gallery/{script.stem}.png", f":alt: {script.stem}", "```", ""]
    record = records / f"{script.stem}.txt"
    if record.exists():
        printed = record.read_text(encoding="utf-8").partition("\n")[2].rstrip()
        lines += ["```text", printed, "```", ""]
    source = [
        "```{raw} html",
        f"<details><summary>examples/{script.name}</summary>",
        "```",
        "",
        f"```{{literalinclude}} ../examples/{script.name}",
        ":language: python",
        "```",
        "",
        "```{raw} html",
        "</details>",
        "```",
        "",
    ]
    return "\n".join([*lines, *source])


def gallery_page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *(entry(script) for script in scripts())])


def write_gallery(target: Path) -> None:
    """Write the page, unless it is as it should be."""
    text = gallery_page()
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        target.write_text(text, encoding="utf-8")


def main(names: list[str]) -> None:
    """Refresh the scripts that are named, or those whose records are not theirs."""
    for script in scripts():
        if script.stem in names or (not names and complaint(script)):
            print(f"running {script.name}", flush=True)
            refresh(script)


if __name__ == "__main__":
    main(sys.argv[1:])
