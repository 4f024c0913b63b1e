"""The status page: links to the other pages and a table of the pools, as HTML without a script or any other file.

Every value that is not from this file is escaped. Nothing here may compute with metrics or contain a metric's name.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from html import escape
from typing import Final

from pool_exporter.metrics.degraded_snapshot import DegradedPoolSnapshot
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.snapshot import AnyPoolSnapshot, Snapshot

SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy to send with the page: a browser runs no script, even if an escape were missing."""

_LINKS: Final = (
    ("-/healthy", "answers 200 while this exporter runs"),
    ("-/ready", "answers 200 if a scrape would succeed"),
)  # Relative, so that they work under any prefix.

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --quiet: #777; --alarm: #c62828; }
@media (prefers-color-scheme: dark) { :root { --quiet: #999; --alarm: #ff8a80; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; }
h1 small { font-size: 1rem; font-weight: normal; color: var(--quiet); }
ul { list-style: none; padding: 0; margin: 1rem 0 2rem; }
li, caption, th small { color: var(--quiet); }
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
<caption>Connections of each pool at the time of this request; pending: callers that wait for one</caption>
<thead><tr><th scope="col">Pool</th><th scope="col">Used</th><th scope="col">Idle</th>\
<th scope="col">Max</th><th scope="col">Pending</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>"""

_NO_POOL: Final = "<p>No pool is instrumented. Call <code>pool_exporter.instrument(engine)</code>.</p>"


_DETAILS: Final = {
    "service": "service {}",
    "instance": "instance {}",
    "system": "{}",
    "namespace": "{}",
    "address": "{}",
    "port": "port {}",
}
"""The attributes that distinguish pools of one name, and how each is printed."""


def render(snapshot: Snapshot, metrics: str = "/metrics") -> str:
    """Return the page for all pools of *snapshot*; *metrics* is the path of the metrics."""
    links = ((metrics.lstrip("/"), "the metrics, for Prometheus"), *_LINKS)
    differing = _differing(pool.identity for pool in snapshot.shown_pools)
    rows = [_row(pool, differing[pool.name]) for pool in snapshot.shown_pools]
    return _PAGE.format(
        style=_STYLE,
        version=escape(snapshot.build.get("version", "")),
        links="\n".join(
            f'<li><a href="{escape(path)}">/{escape(path)}</a> {escape(what)}</li>' for path, what in links
        ),
        pools=_TABLE.format(rows="\n".join(rows)) if rows else _NO_POOL,
    )


def _differing(identities: Iterable[PoolIdentity]) -> Mapping[str, list[str]]:
    """Return, for each pool name, the attributes in which the pools of that name differ."""
    by_name: dict[str, list[PoolIdentity]] = defaultdict(list)
    for identity in identities:
        by_name[identity.name].append(identity)
    return {
        name: [attribute for attribute in _DETAILS if len({getattr(each, attribute) for each in same}) > 1]
        for name, same in by_name.items()
    }


def _row(pool: AnyPoolSnapshot, differing: list[str]) -> str:
    limit = "unknown" if isinstance(pool, DegradedPoolSnapshot) else "no limit" if pool.max is None else str(pool.max)
    numbers = (
        _cell(_number(pool.used), is_alarming=pool.is_saturated),
        _cell(_number(pool.idle)),
        _cell(limit),
        _cell(_number(pool.pending), is_alarming=bool(pool.pending)),
    )
    return f'<tr><th scope="row">{_title(pool.identity, differing)}</th>{"".join(numbers)}</tr>'


def _title(identity: PoolIdentity, differing: list[str]) -> str:
    name = escape(str(identity.name))
    values = {attribute: str(getattr(identity, attribute)) for attribute in differing}
    details = [_DETAILS[attribute].format(value) if value else f"no {attribute}" for attribute, value in values.items()]
    return f"{name} <small>{escape(', '.join(details))}</small>" if details else name


def _number(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _cell(text: str, *, is_alarming: bool = False) -> str:
    return f'<td class="alarm">{text}</td>' if is_alarming else f"<td>{text}</td>"
