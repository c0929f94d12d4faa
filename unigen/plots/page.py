"""Pages that need nothing but themselves: the style they share, embedded pictures, and the frame around a body.

A page fetches nothing, and says so to the browser (Content-Security-Policy): pictures are in the page, and no script
runs but those that the page was written with.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
:root { --ink: #1c2430; --soft: #5d6879; --line: #d9dee7; --paper: #ffffff; --accent: #2457a6; --wash: #f4f6fa;
  --good: #1a7038; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --soft: #9aa4b5; --line: #343c4a; --paper: #14181f; --accent: #8fb4f2; --wash: #1d232d;
    --good: #6fcf8f; --bad: #ff8a80; }
  img { background: #fff; border-radius: 4px; }
}
:root { color-scheme: light dark; }
body { color: var(--ink); background: var(--paper); font: 16px/1.5 system-ui, sans-serif; margin: 0; }
h1 { font-size: 1.8rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .35rem .55rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { vertical-align: bottom; color: var(--soft); font-weight: 600; white-space: normal; }
th:first-child, td:first-child { text-align: left; }
small { color: var(--soft); } a { color: var(--accent); text-decoration: none; }
.error, .no { color: var(--bad); } .yes { color: var(--good); }
figure { margin: 0; } figure img { max-width: 100%; height: auto; }
figcaption { font-size: .8rem; color: var(--soft); }
pre { background: var(--wash); padding: .6rem .8rem; overflow-x: auto; font-size: .8rem; border-radius: 6px; }
code { font-size: .95rem; } cite { color: var(--soft); }
"""


def picture(figure: Figure, title: str, *, caption: bool = True) -> str:
    """Embed a figure as PNG.

    Args:
        figure: What to show.
        title: Its text for those who do not see it.
        caption: Whether the text is written under it too.

    Returns:
        A ``<figure>``.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(title)
    below = f"<figcaption>{text}</figcaption>" if caption else ""
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}">{below}</figure>'


def document(title: str, style: str, body: str, *, early: str = "", late: str = "") -> str:
    """Frame a body as a page.

    Args:
        title: In the browser's bar.
        style: Style sheet, after the shared one.
        body: HTML.
        early: Script that runs before the body is read.
        late: Script that runs after it.

    Returns:
        The page.

    Example:
        >>> "script-src 'none'" in document("A page", "", "<p>No scripts.</p>")
        True
    """
    scripts = " ".join(f"'sha256-{_digest(text)}'" for text in (early, late) if text) or "'none'"
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {scripts}"
    first, last = (f"<script>{text}</script>" if text else "" for text in (early, late))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{STYLE}{style}</style>{first}</head><body>
{body}
{last}</body></html>
"""


def _digest(text: str) -> str:
    """Return the digest by which a policy allows a script."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
