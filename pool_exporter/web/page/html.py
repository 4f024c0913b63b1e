"""The whole page in HTML: the state in a few words, processes that are not living, pools with trouble, other pools."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from pool_exporter.advice.attention import LEVELS
from pool_exporter.diagnosis.texts.wording import counted
from pool_exporter.web.page.assets import REFRESH_SECONDS, SCRIPT, STYLE
from pool_exporter.web.page.findings import findings_of_pools
from pool_exporter.web.page.pools import article, holders, table
from pool_exporter.web.status import texts
from pool_exporter.web.status.values import PoolStatus, ProcessStatus, Status

ARTICLES_MAX: Final = 25
"""Most pools with trouble that are shown in full; the others are in the table."""
FEW: Final = 4
"""Up to this many pools are all shown in full; of more, those with trouble, then busy ones up to this number."""
QUIET_MAX: Final = 40
"""While there is trouble, more quiet pools than this are folded away."""
PROCESSES_MAX: Final = 10
"""Most processes that are not living and are shown in full."""
PAUSED: Final = "off"
"""The value of the query's `refresh` that stops the page from refreshing itself."""

_LINKS: Final = (
    ("-/pools.json", "this page as JSON"),
    ("-/healthy", "answers 200 while this exporter runs"),
    ("-/ready", "answers 200 if a scrape would succeed"),
    ("-/runbooks/", "what to do about each alert"),
    ("-/checks/", "what is checked in each configuration"),
)  # Relative, so that they work under any prefix.

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
{refresh}<title>{title}</title>
<style>{style}</style>
</head>
<body data-refresh="{seconds}">
<header>
<h1 id="state" aria-live="polite">{headline}</h1>
<p class="quiet"><span id="age" class="stale" role="status"></span><span id="time">{time}</span> {pause}</p>
</header>
<main>
{main}
</main>
<footer>
<ul>
{links}
</ul>
<p class="quiet">pool_exporter {version}</p>
</footer>
<script>{script}</script>
</body>
</html>
"""

_NO_POOL: Final = "<p>No pool is instrumented. Call <code>pool_exporter.instrument(engine)</code>.</p>"


def render(status: Status, metrics: str = "/metrics", *, is_paused: bool = False, to_root: str = "") -> str:
    """Return the page.

    Args:
        status: The state of all pools.
        metrics: The path of the metrics.
        is_paused: Whether the page is not to refresh itself.
        to_root: The relative link from the page to the place where the app is mounted.
    """
    links = ((metrics.lstrip("/"), "the metrics, for Prometheus"), *_LINKS)
    seconds = 0 if is_paused else REFRESH_SECONDS
    headline = texts.headline(status)
    return _PAGE.format(
        refresh=f'<noscript><meta http-equiv="refresh" content="{seconds}"></noscript>\n' if seconds else "",
        title=escape(f"{headline} \N{MIDDLE DOT} pool_exporter"),
        style=STYLE,
        seconds=seconds,
        headline=escape(headline),
        time=texts.clock(status.at),
        pause=_pause(is_paused=is_paused),
        main="\n".join(_main(status)),
        links="\n".join(
            f'<li><a href="{escape(to_root + path)}">/{escape(path)}</a> {escape(what)}</li>' for path, what in links
        ),
        version=escape(status.version),
        script=SCRIPT,
    )


def _pause(*, is_paused: bool) -> str:
    if is_paused:
        return '\N{MIDDLE DOT} paused \N{MIDDLE DOT} <a href="?">refresh again</a>'
    return f'\N{MIDDLE DOT} refreshes every {REFRESH_SECONDS} s \N{MIDDLE DOT} <a href="?refresh={PAUSED}">pause</a>'


def _main(status: Status) -> Iterable[str]:
    if status.hint and status.pools:
        yield f'<p class="hint">{escape(status.hint)}</p>'
    yield from _faults(status)
    yield from filter(None, _processes(status))
    full = _in_full(status)
    yield from (article(pool, status) for pool in full)
    trouble, busy, quiet = ([pool for pool in status.of_level(level) if pool not in full] for level in LEVELS)
    if trouble:
        yield table(trouble, f"{counted(len(trouble), 'pool')} more in trouble")
    if busy:
        yield table(busy, f"{counted(len(busy), 'busy pool')}: full, or with callers that wait")
    yield from findings_of_pools([*trouble, *busy, *quiet])
    if quiet:
        yield _quiet(quiet, is_folded=len(quiet) > QUIET_MAX and bool(full))
    if not status.pools and not status.faults:
        yield _NO_POOL


def _faults(status: Status) -> Iterable[str]:
    """Yield the part about the shared directory of a sidecar; nothing where nothing is wrong with it."""
    if status.faults:
        yield '<section class="workers" aria-labelledby="directory">\n<h2 id="directory">Shared directory</h2>'
        items = "".join(f"<li><b>{escape(text)}</b></li>\n" for text in status.faults.values())
        yield f'<ul class="groups">\n{items}</ul>\n</section>'


def _in_full(status: Status) -> Sequence[PoolStatus]:
    """Return the pools that are shown in full: those with trouble, and others while there are few."""
    trouble, busy, _ = map(status.of_level, LEVELS)
    if len(status.pools) <= FEW:
        return status.pools
    return trouble[:ARTICLES_MAX] if len(trouble) >= FEW else (*trouble, *busy)[:FEW]


def _quiet(pools: Sequence[PoolStatus], *, is_folded: bool) -> str:
    caption = counted(len(pools), "quiet pool")
    if not is_folded:
        return table(pools, caption)
    inner = table(pools, labelled_by="quiet-pools")
    return f'<details id="quiet"><summary id="quiet-pools">{caption}</summary>\n{inner}\n</details>'


def _processes(status: Status) -> Iterable[str]:
    """Yield the part about processes that are not living, and how many are; nothing where there is nothing to say."""
    workers = texts.workers_line(status)
    found, earlier = texts.stopped(status)
    if not found:
        yield f'<p class="quiet">{escape(workers)}</p>' if workers else ""
        yield _ended_earlier(earlier, status)
        return
    yield '<section class="workers" aria-labelledby="workers">'
    yield f'<h2 id="workers">Processes that do not run</h2>\n<p class="quiet">{escape(workers)}</p>'
    yield _list(found[:PROCESSES_MAX], status)
    more = len(found) - PROCESSES_MAX
    yield f'<p class="quiet">and {more} more</p>' if more > 0 else ""
    yield _ended_earlier(earlier, status)
    yield "</section>"


def _ended_earlier(processes: Sequence[ProcessStatus], status: Status) -> str:
    if not processes:
        return ""
    summary = f"{len(processes)} that ended earlier"
    inner = _list(processes[:PROCESSES_MAX], status)
    return f'<details id="ended"><summary>Processes: {summary}</summary>\n{inner}\n</details>'


def _list(processes: Sequence[ProcessStatus], status: Status) -> str:
    items = "".join(_process(process, status.at) for process in processes)
    return f'<ul class="groups">\n{items}</ul>'


def _process(process: ProcessStatus, at: float) -> str:
    held = "".join(f"<li>{holders(group, names_process=False)}</li>\n" for group in process.holders)
    inner = f'\n<ul class="groups">\n{held}</ul>' if held else ""
    return f"<li><b>{escape(texts.process_line(process, at))}</b>{inner}</li>\n"
