"""The style and the script of the status page, and the policy under which a browser runs nothing else.

Nothing here may have a value of an application.
"""

from base64 import b64encode
from hashlib import sha256
from typing import Final

REFRESH_SECONDS: Final = 5
"""How often the page refreshes itself."""

STYLE: Final = """
:root { color-scheme: light dark; --bg: #fff; --card: #f6f7f9; --text: #1b1f24; --quiet: #57606a; --line: #d0d7de;
  --alarm: #b3261e; --on-alarm: #fff; --warn: #7a4d00; --warn-bg: #fff3d6; --calm: #1a6b3c; --link: #0b5cad;
  --bar: #4a6fa5; }
@media (prefers-color-scheme: dark) { :root { --bg: #0f1318; --card: #181e25; --text: #e6e9ed; --quiet: #a3adb8;
  --line: #343d47; --alarm: #ff8f85; --on-alarm: #1b0503; --warn: #ffcf70; --warn-bg: #33280f; --calm: #7fd49f;
  --link: #86bdf7; --bar: #6d97d6; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 1rem; background: var(--bg);
  color: var(--text); font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 0; }
h3 { font-size: .95rem; margin: 1rem 0 .25rem; }
p { margin: .35rem 0; }
small, .quiet, dt, caption, thead th { color: var(--quiet); font-weight: normal; }
code { font: .9em/1.45 ui-monospace, monospace; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 3px; }
header { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; align-items: baseline; justify-content: space-between;
  margin-bottom: 1rem; }
header p { margin: 0; }
section { margin: 0 0 1rem; }
.pool, .workers { border: 1px solid var(--line); border-left: .35rem solid var(--line); border-radius: .4rem;
  background: var(--card); padding: .75rem 1rem; }
.is-trouble { border-left-color: var(--alarm); }
.workers { border-left-color: var(--warn); }
.pool > h2 { display: flex; flex-wrap: wrap; gap: .15rem .75rem; align-items: baseline; }
.verdict { background: var(--alarm); color: var(--on-alarm); border-radius: .3rem; padding: .05rem .5rem;
  font: 600 .95rem/1.5 ui-monospace, monospace; }
.past { background: none; color: var(--quiet); border: 1px solid var(--line); font-weight: normal; }
.alarm { color: var(--alarm); font-weight: 600; }
.calm { color: var(--calm); font-weight: 600; }
.do { border-left: 3px solid var(--bar); padding-left: .6rem; margin: .5rem 0; max-width: 68rem; }
.hint { background: var(--warn-bg); color: var(--warn); border-radius: .3rem; padding: .5rem .75rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.4rem, 1fr)); gap: .5rem 1rem; margin: .75rem 0; }
dl div { border-top: 1px solid var(--line); padding-top: .25rem; }
dt { font-size: .85rem; line-height: 1.3; }
dd { margin: 0; font-size: 1.15rem; line-height: 1.4; }
dd small { font-size: .8rem; display: block; }
svg { display: block; width: 100%; max-width: 12rem; height: .45rem; border-radius: .2rem; background: var(--line); }
svg rect { fill: var(--bar); }
.full rect { fill: var(--alarm); }
.sizing { display: flex; flex-wrap: wrap; gap: 0 1.5rem; }
.sizing > div { flex: 1 1 18rem; min-width: 0; max-width: 44rem; }
svg.chart { flex: 0 1 24rem; width: 24rem; max-width: 100%; height: auto; background: none; border-radius: 0; }
.chart text { fill: currentColor; color: var(--quiet); font-size: 12px; paint-order: stroke; stroke: var(--card);
  stroke-width: 3px; }
.chart .label { color: var(--text); font-weight: 600; }
.chart line { stroke: var(--line); }
.chart .target { stroke: var(--quiet); stroke-dasharray: 1 3; }
.chart .curve { fill: none; stroke: var(--bar); stroke-width: 2; }
.chart .point { fill: var(--bar); }
.chart .now { stroke: var(--text); }
.chart line.now { stroke-dasharray: 4 3; }
.chart .wanted { stroke: var(--calm); }
.chart .mark { fill: var(--card); stroke-width: 2; }
ul { list-style: none; margin: 0; padding: 0; }
.groups li { border-top: 1px solid var(--line); padding: .4rem 0; }
.groups b { font-size: 1.05em; }
.facts { display: block; color: var(--quiet); padding-left: 1rem; text-indent: -1rem; }
.facts code { color: var(--text); }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; padding-bottom: .25rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child { text-align: left; padding-left: 0; font-weight: normal; }
thead th { white-space: nowrap; font-size: .85rem; }
td:nth-child(2) { white-space: nowrap; }
td svg { display: inline-block; width: 4.5rem; margin-right: .6rem; vertical-align: .15em; }
summary { cursor: pointer; color: var(--link); padding: .25rem 0; }
.sizing + details { margin-top: .5rem; }
footer { border-top: 1px solid var(--line); padding-top: .75rem; margin-top: 1.5rem; }
footer li { display: inline-block; margin-right: 1.25rem; }
.stale { color: var(--alarm); font-weight: 600; }
@media (max-width: 40rem) {
  body { padding: .75rem .6rem; }
  .pool, .workers { padding: .6rem .7rem; }
  dl { grid-template-columns: repeat(auto-fill, minmax(6rem, 1fr)); gap: .5rem .75rem; }
  th, td { padding: .3rem .35rem; }
  .wide, td svg { display: none; }
}
@media (forced-colors: active) {
  svg:not(.chart) { border: 1px solid; }
  svg rect { fill: Highlight; }
  .chart :is(line, .curve, .mark) { stroke: CanvasText; }
  .chart .mark { fill: Canvas; }
  .chart .point { fill: CanvasText; }
}
"""

SCRIPT: Final = """
(() => {
  const seconds = Number(document.body.dataset.refresh), note = document.getElementById("age");
  if (!seconds) return;
  let at = Date.now(), isBusy = false;
  const say = (text) => { if (note.textContent !== text) note.textContent = text; };
  const replace = (next) => {
    const folds = [...document.querySelectorAll("details[id]")].map((each) => [each.id, each.open]);
    const focused = document.activeElement && document.activeElement.id;
    const status = next.getElementById("state").textContent;
    document.querySelector("main").replaceWith(next.querySelector("main"));
    for (const [id, isOpen] of folds) { const found = document.getElementById(id); if (found) found.open = isOpen; }
    const back = focused && document.getElementById(focused);
    if (back) back.focus({ preventScroll: true });
    const state = document.getElementById("state");
    if (state.textContent !== status) state.textContent = status;
    document.title = next.title;
    document.getElementById("time").textContent = next.getElementById("time").textContent;
  };
  const again = async () => {
    if (isBusy || document.hidden || !getSelection().isCollapsed) return;
    isBusy = true;
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (!answer.ok) throw new Error(answer.status);
      replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
      at = Date.now();
      say("");
    } catch (error) {
      say("No answer for " + Math.round((Date.now() - at) / 1000) + " s: what is below is old. ");
    }
    isBusy = false;
  };
  setInterval(again, seconds * 1000);
  document.addEventListener("visibilitychange", again);
})();
"""
"""It replaces the page's content by that of a new answer, and keeps focus, scrolling, selection and what is unfolded.

Without an answer the last content stays, and its age is shown: that of a process which has just frozen is worth most.
"""


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy to send with the page: a browser runs and applies this file's texts only, and connects to
nothing but the page itself, even if an escape were missing."""
