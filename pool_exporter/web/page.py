"""The landing page: links to what there is, and a small table of the pools, as HTML without a script or any other file.

Every value that did not come from this file is escaped. No arithmetic on metrics, no metric's name.
"""

from html import escape
from typing import Final

from pool_exporter.metrics.snapshot import PoolSnapshot, Snapshot

SECURITY_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy to send with it: were something not escaped, it would still not run."""

_LINKS: Final = (
    ("-/healthy", "this exporter answers"),
    ("-/ready", "a scrape would succeed"),
)  # Relative, so that they lead somewhere under any prefix.

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --quiet: #777; --alarm: #c62828; }
@media (prefers-color-scheme: dark) { :root { --quiet: #999; --alarm: #ff8a80; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; }
h1 small { font-size: 1rem; font-weight: normal; color: var(--quiet); }
ul { list-style: none; padding: 0; margin: 1rem 0 2rem; }
li, caption { color: var(--quiet); }
li a { display: inline-block; min-width: 6rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .5rem; }
th, td { padding: .4rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; padding-left: 0; font-weight: normal; overflow-wrap: anywhere; }
thead th { color: var(--quiet); font-weight: normal; white-space: nowrap; }
.alarm { color: var(--alarm); font-weight: bold; }
"""

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>pool_exporter</title>
<style>{style}</style>
</head>
<body>
<h1>pool_exporter <small>{version}</small></h1>
<ul>
{links}
</ul>
{pools}
</body>
</html>
"""

_TABLE: Final = """<table>
<caption>Connections of each pool when this page was asked for</caption>
<thead><tr><th scope="col">Pool</th><th scope="col">Used</th><th scope="col">Idle</th>\
<th scope="col">Max</th><th scope="col">Pending</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>"""

_NO_POOL: Final = "<p>No pool is watched: <code>pool_exporter.instrument(engine)</code> does it.</p>"


def render(snapshot: Snapshot, metrics: str = "/metrics") -> str:
    """Return the page for all pools of *snapshot*; *metrics* is the path of the metrics."""
    links = ((metrics.lstrip("/"), "what Prometheus scrapes"), *_LINKS)
    return _PAGE.format(
        style=_STYLE,
        version=escape(snapshot.build.get("version", "")),
        links="\n".join(
            f'<li><a href="{escape(path)}">/{escape(path)}</a> {escape(what)}</li>' for path, what in links
        ),
        pools=_TABLE.format(rows="\n".join(map(_row, snapshot.pools))) if snapshot.pools else _NO_POOL,
    )


def _row(pool: PoolSnapshot) -> str:
    limit = "no limit" if pool.max is None else str(pool.max)
    is_full = pool.max is not None and pool.used >= pool.max
    numbers = (
        _cell(str(pool.used), is_alarming=is_full),
        _cell(str(pool.idle)),
        _cell(limit),
        _cell(str(pool.pending), is_alarming=pool.pending > 0),
    )
    return f'<tr><th scope="row">{escape(pool.name)}</th>{"".join(numbers)}</tr>'


def _cell(text: str, *, is_alarming: bool = False) -> str:
    return f'<td class="alarm">{text}</td>' if is_alarming else f"<td>{text}</td>"
