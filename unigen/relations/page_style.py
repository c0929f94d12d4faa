"""The style sheet of the page of relations, after the one that all pages share."""

STYLE = """
header, main { max-width: 1560px; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 1.2rem; } header p { margin: .2rem 0; max-width: 60rem; }
h1 { margin: 0; } h2 { font-size: 1.3rem; margin: 0 0 .4rem; } h3 { font-size: .95rem; margin: 1.2rem 0 .3rem; }
a:focus-visible, button:focus-visible, input:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.verdict { font-weight: 600; white-space: nowrap; }
.verdict.holds { color: var(--good); } .verdict.unknown { color: var(--soft); }
.verdict.fails { color: var(--paper); background: var(--bad); padding: .1rem .5rem; border-radius: 4px; }
.verdict.fails a { color: inherit; text-decoration: underline; }
main { display: grid; gap: 1.5rem; padding-bottom: 4rem; margin-top: 1rem; }
.chart { min-width: 0; } .chart p { margin: .3rem 0; font-size: .85rem; color: var(--soft); }
.map { width: 100%; height: auto; display: block; margin: 0 auto; }
.map text { font: 13px system-ui, sans-serif; text-anchor: middle; fill: var(--ink); }
.map .badge text { font-size: 11px; font-weight: 600; }
.node rect { fill: var(--paper); stroke: var(--accent); stroke-width: 1.2; }
.node:hover rect, .node.chosen rect { fill: var(--wash); stroke-width: 2.6; }
.line { fill: none; stroke: var(--soft); stroke-width: 1.3; } .line.special { stroke-dasharray: 4 4; }
.hit { fill: none; stroke: transparent; stroke-width: 16; }
.edge.fails .line { stroke: var(--bad); stroke-width: 3; stroke-dasharray: 9 4; }
.edge:hover .line, .edge.chosen .line { stroke: var(--accent); stroke-width: 3.2; }
.badge circle { fill: var(--paper); stroke: var(--good); stroke-width: 1.6; }
.badge.unknown circle { stroke: var(--soft); stroke-dasharray: 3 3; }
.badge.fails path { fill: var(--bad); } .badge.fails text { fill: var(--paper); }
.badge:hover circle, .badge.chosen circle { stroke: var(--accent); stroke-width: 4; }
.badge:hover path, .badge.chosen path { stroke: var(--accent); stroke-width: 4; }
.map a:focus-visible { outline: none; }
.node:focus-visible rect, .badge:focus-visible circle, .badge:focus-visible path {
  stroke: var(--accent); stroke-width: 5; }
.dim { opacity: .18; }
.tall { display: none; }
.index { margin-top: 1rem; } .index label { font-weight: 600; }
.index input { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--soft);
  border-radius: 6px; padding: .3rem .6rem; width: 100%; max-width: 22rem; box-sizing: border-box; }
.index ol, .theorems { list-style: none; padding: 0; margin: .6rem 0; columns: 19rem; column-gap: 1.2rem; }
.index li a, .theorems li a { display: flex; gap: .5rem; padding: .2rem .4rem; border-radius: 5px; break-inside: avoid;
  color: var(--ink); font-size: .92rem; }
.index li a:hover, .theorems li a:hover { background: var(--wash); }
.index li a.chosen { background: var(--wash); box-shadow: inset 3px 0 var(--accent); font-weight: 600; }
li .number { color: var(--soft); min-width: 1.4rem; text-align: right; flex: none; }
li .verdict { flex: none; } li .verdict.fails { font-size: .8rem; }
.panel { min-width: 0; border: 1px solid var(--line); border-radius: 8px; padding: 1rem 1.2rem;
  box-sizing: border-box; }
.js .entry:not(.shown) { display: none; } .entry:focus { outline: none; }
.entry + .entry { margin-top: 3rem; } .js .entry + .entry { margin-top: 0; }
.statement { font-size: 1.08rem; }
.formula { display: block; font-size: 1.25rem; margin: .8rem 0; overflow-x: auto; overflow-y: hidden; }
.formula svg { margin: .2rem 1.1rem .2rem 0; height: auto; max-width: 100%; }
.entry ul { margin: .2rem 0; padding-left: 1.2rem; }
.claims td, .claims thead th { text-align: right; padding: .1rem .55rem .45rem; }
.claims td:first-child, .claims thead th:first-child { padding-left: 1.4rem; text-align: right; }
.claims tbody th { color: var(--ink); font-weight: 400; white-space: normal; border: 0; padding-bottom: 0; }
.claims .fails td, .claims .fails th { background: color-mix(in srgb, var(--bad) 14%, transparent); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; font-size: .86rem; margin: .5rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.entry figure { overflow-x: auto; } .entry figure img { max-width: 100%; min-width: 34rem; }
.code { position: relative; } .code pre { margin: 0; padding-right: 5rem; }
.copy { position: absolute; top: .4rem; right: .4rem; font: .8rem system-ui, sans-serif; color: var(--ink);
  background: var(--paper); border: 1px solid var(--soft); border-radius: 5px; padding: .15rem .6rem; cursor: pointer; }
html:not(.js) .copy, html:not(.js) .index form { display: none; }
.back { float: right; font-size: .85rem; margin-left: 1rem; }
@media (min-width: 1280px) {
  main { grid-template-columns: minmax(0, 1fr) minmax(0, 38rem); align-items: start; }
  .js .panel { position: sticky; top: .75rem; max-height: calc(100vh - 1.5rem); overflow-y: auto; }
  .js .back { display: none; }
}
@media (max-width: 640px) {
  .wide-map { display: none; } .tall { display: block; }
  header, main { padding-left: .8rem; padding-right: .8rem; } .panel { padding: .8rem; } h1 { font-size: 1.4rem; }
  .formula { font-size: 1.1rem; } .claims { font-size: .76rem; }
  .claims td, .claims th, .claims td:first-child, .claims thead th, .claims thead th:first-child {
    padding-left: .2rem; padding-right: .2rem; }
}
@media print { .js .entry:not(.shown) { display: block; } .index, .copy { display: none; } }
"""
