"""The report's style sheet, after the one that all pages share."""

STYLE = """
main { max-width: 1100px; margin: 0 auto; padding: 2rem 1rem 6rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); } h3 { margin-bottom: .3rem; }
th:nth-child(3), td:nth-child(3) { text-align: left; }
.kind { font-size: .8rem; color: var(--soft); } .kind.exact { color: var(--ink); }
nav { margin: 1rem 0; line-height: 2; } nav a { margin-right: .8rem; white-space: nowrap; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
"""
