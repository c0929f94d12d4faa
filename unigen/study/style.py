"""The report's style sheet."""

STYLE = """
:root { --ink: #1c2430; --soft: #667085; --line: #d9dee7; --paper: #ffffff; --accent: #2457a6; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --soft: #9aa4b5; --line: #343c4a; --paper: #14181f; --accent: #8fb4f2; }
  img { background: #fff; border-radius: 4px; }
}
body { color: var(--ink); background: var(--paper); font: 16px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 1100px; margin: 0 auto; padding: 2rem 1rem 6rem; }
h1 { font-size: 1.8rem; } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); } h3 { margin-bottom: .3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .35rem .55rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { vertical-align: bottom; color: var(--soft); font-weight: 600; white-space: normal; }
th:first-child, td:first-child, th:nth-child(3), td:nth-child(3) { text-align: left; }
small { color: var(--soft); } a { color: var(--accent); text-decoration: none; }
.kind { font-size: .8rem; color: var(--soft); } .kind.exact { color: var(--ink); }
.error, .no { color: #c02a2a; } .yes { color: #1d7d3f; }
nav { margin: 1rem 0; line-height: 2; } nav a { margin-right: .8rem; white-space: nowrap; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; } figure img { max-width: 100%; height: auto; }
figcaption { font-size: .8rem; color: var(--soft); }
pre { background: color-mix(in srgb, var(--line) 35%, transparent); padding: .6rem .8rem; overflow-x: auto;
  font-size: .8rem; border-radius: 6px; }
code { font-size: .95rem; } cite { color: var(--soft); }
"""
