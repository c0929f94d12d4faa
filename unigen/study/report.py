"""The report: one self-contained HTML page, figures embedded, no scripts and nothing fetched."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from unigen.plots.page import document, picture
from unigen.study.figures import atlas_figure, row_figures
from unigen.study.style import STYLE
from unigen.study.worker import slug

Results = dict[str, Any]


def _number(value: float | None, digits: int = 2, error: float | None = None) -> str:
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text if error is None else f"{text}<small> ± {error:.{digits}f}</small>"


def _kind(row: Results) -> str:
    sign = {"exact": "=", "lower bound": "≥", "upper bound": "≤", "estimate": "≈", "unnormalised": "∝"}
    kind = row["kind"]
    return f'<span class="kind {kind.replace(" ", "-")}">{sign.get(kind, "")} {html.escape(kind)}</span>'


def _table(rows: list[Results]) -> str:
    heads = (
        ("model", "name"), ("log p(x), nats", "test images, mean ± standard error over images"),
        ("what the number is", "kind"), ("bits/dim", "of the integer image"),
        ("MMD² · 10³", "unbiased, to 500 held-out images; lower is better"), ("sliced W₂", "lower is better"),
        ("told apart", "accuracy of a classifier, draws against real images; 0.5 is perfect"),
        ("fit, s", "wall time on one core"), ("500 draws, s", ""), ("parameters", ""),
    )  # fmt: skip
    lines = ["".join(f'<th title="{html.escape(hint)}">{html.escape(head)}</th>' for head, hint in heads)]
    for row in rows:
        name = (
            f'<a href="#{slug(row["name"])}">{html.escape(row["name"])}</a>' if row["family"] else row["name"]
        )
        if row["error"]:
            lines.append(f'<td>{name}</td><td colspan="9" class="error">{html.escape(row["error"])}</td>')
            continue
        shown = row["nats"] if row["kind"] != "unnormalised" else None
        cells = (
            name, _number(shown, 2, row["stderr"] if shown is not None else None), _kind(row) if row["family"] else "",
            _number(row["bits_per_dim"], 3),
            _number(None if row["mmd"] is None else 1e3 * row["mmd"]), _number(row["sliced_wasserstein"], 3),
            _number(row["classifier"], 3, row["classifier_stderr"]),
            _number(row["fit_seconds"] if row["family"] else None, 1), _number(row["draw_seconds"], 2),
            f"{row['parameters']:,}" if row["family"] else "–",
        )  # fmt: skip
        lines.append("".join(f"<td>{cell}</td>" for cell in cells))
    body = "".join(f"<tr>{line}</tr>" for line in lines[1:])
    return f'<div class="wide"><table><thead><tr>{lines[0]}</tr></thead><tbody>{body}</tbody></table></div>'


def _section(row: Results, folder: Path) -> str:
    if not row["family"] or row["error"]:
        return ""
    facts = [f"{row['steps']} steps in {row['fit_seconds']:.1f} s; {row['stopped']}"]
    if row["nats"] is not None and 0 < row["scored"] < 250:
        facts.append(f"scored on {row['scored']} test images")
    if row["note"]:
        facts.append(row["note"])
    if row["why_not"]:
        facts.append(row["why_not"])
    pictures = "".join(picture(figure, title) for title, figure in row_figures(row, folder))
    return (
        f'<section id="{slug(row["name"])}"><h3>{html.escape(row["name"])}</h3>'
        f"<p><code>{html.escape(row['formula'])}</code></p><p>{html.escape('. '.join(facts))}</p>"
        f'<div class="figures">{pictures}</div></section>'
    )


def _evidence(title: str, evidence: Results) -> str:
    verdict = '<b class="yes">holds</b>' if evidence["holds"] else '<b class="no">does not hold</b>'
    lines = "\n".join(claim["text"] for claim in evidence["claims"])
    lines += "".join(f"\n{name}: {value}" for name, value in evidence["details"].items())
    return f"<p>{html.escape(title)}: {verdict}</p><pre>{html.escape(lines)}</pre>"


def _relation(each: Results) -> str:
    example = _evidence("Worked example", each["example"])
    title = f"On the fitted programs ({' and '.join(each['on'])})"
    if "measured" in each:
        measured = _evidence(title, each["measured"])
    else:
        measured = f"<p>{html.escape(title)}: {html.escape(each['error'] or each.get('refused', ''))}</p>"
    return (
        f'<section id="relation-{each["id"]}"><h3>{each["id"]}. {html.escape(each["name"])}</h3>'
        f"<p>{html.escape(each['statement'])} <cite>{html.escape(each['source'])}</cite></p>"
        f"{example}{measured}</section>"
    )


def write_report(results: Results, out: Path) -> Path:
    """Write ``report.html`` from the results and the arrays beside the programs.

    Args:
        results: The content of ``results.json``.
        out: Folder of the study.

    Returns:
        The path of the page.
    """
    rows, folder = results["rows"], out / "programs"
    mode = "quick run: a tenth of the training" if results["quick"] else "full run"
    contents = "".join(
        f'<a href="#{slug(row["name"])}">{html.escape(row["name"])}</a> ' for row in rows if row["family"]
    )
    atlas = picture(
        atlas_figure(results),
        "families and the theorems that link them; filled: measured on the fitted programs below",
    )
    body = f"""<main>
<h1>Every family on the {html.escape(results["data"])}</h1>
<p>1,797 real 8 × 8 images of handwritten digits, dequantised x = (k + u)/17; 1,297 train, 250 validate, 250 test.
{mode}, seed {results["seed"]}, {results["seconds"]:.0f} s in all.</p>
<p>Numbers of different kinds are not comparable as they stand: “=” is the density itself, “≥” a lower bound on it
(the truth is at least that), “≈” an estimate, “∝” known up to a constant. A model without a density shows none. The
distances in the middle columns need only draws, and judge every model alike.</p>
{_table(rows)}
<nav>{contents}</nav>
<h2>How they relate</h2>{atlas}{"".join(_relation(each) for each in results["relations"])}
<h2>The fitted programs</h2>{"".join(_section(row, folder) for row in rows)}
</main>"""
    path = out / "report.html"
    path.write_text(document(f"unigen: {results['data']}", STYLE, body), encoding="utf-8")
    return path
