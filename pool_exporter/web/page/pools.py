"""The parts of the page about pools: one article for each that needs attention, and a table of the others.

Nothing here may decide which pools need attention; every text is escaped.
"""

from collections.abc import Iterable
from hashlib import sha256
from html import escape
from typing import Final

from pool_exporter.diagnosis.texts.wording import counted, duration, unit_text
from pool_exporter.diagnosis.verdict import HEALTHY
from pool_exporter.web.page.findings import findings_of_pool
from pool_exporter.web.page.sizes import size_part
from pool_exporter.web.status import texts
from pool_exporter.web.status.values import HolderGroup, PoolStatus, Status, VerdictStatus, WaiterGroup

GROUPS_MAX: Final = 8
"""Most groups of holders, or of waiters, that are not folded away."""
BAR: Final = 100
"""The width of a full bar."""


def article(pool: PoolStatus, status: Status) -> str:
    """Return the part of one pool: verdict, what to do, numbers, holders, waiters, its size and its findings."""
    name = identifier(pool)
    pieces = [
        f'<section class="pool is-{pool.level}" aria-labelledby="{name}">',
        f'<h2 id="{name}">{title(pool)} {_badge(pool)}</h2>',
        *_explained(pool),
        _numbers(pool),
        *(_held(pool) if status.shows_holders else ()),
        *size_part(pool, name),
        *findings_of_pool(pool, name),
        "</section>",
    ]
    return "\n".join(filter(None, pieces))


def table(pools: Iterable[PoolStatus], caption: str = "", labelled_by: str = "") -> str:
    """Return a table with one row for each pool.

    Args:
        pools: The pools.
        caption: What they have in common.
        labelled_by: Without a caption, the id of the element that says it.
    """
    rows = "\n".join(map(_row, pools))
    heads = ("Used", "Waiting", "Wait p99", "Timeouts since start", "Oldest use")
    columns = "".join(f'<th scope="col"{_wide(head)}>{head}</th>' for head in heads)
    head = (
        f"<table>\n<caption>{escape(caption)}</caption>\n" if caption else f'<table aria-labelledby="{labelled_by}">\n'
    )
    return f'{head}<thead><tr><th scope="col">Pool</th>{columns}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>'


def title(pool: PoolStatus) -> str:
    """Return the name of a pool, and what distinguishes it from others of that name."""
    name = escape(str(pool.pool.name))
    return f"{name} <small>{escape(pool.detail)}</small>" if pool.detail else name


def identifier(pool: PoolStatus) -> str:
    """Return an id for a pool's heading, which stays the same from one refresh to the next."""
    return "p" + sha256(repr(pool.pool.values()).encode()).hexdigest()[:12]


def _badge(pool: PoolStatus) -> str:
    if (verdict := pool.verdict) is not None:
        return f'<strong class="verdict">{escape(verdict.name)}</strong>'
    past = next((each for each in pool.verdicts if each.name != HEALTHY), None)
    if past is not None:
        return f'<strong class="verdict past">earlier: {escape(past.name)}</strong>'
    return "" if pool.level != "trouble" else '<strong class="verdict past">no verdict yet</strong>'


def _explained(pool: PoolStatus) -> Iterable[str]:
    for verdict in pool.verdicts:
        if verdict is pool.verdict:
            yield f"<p>{escape(texts.situation(pool, verdict))} {escape(verdict.why)} {_when(verdict)}</p>"
            yield from (
                f'<p class="facts">where <code>{escape(place)}</code></p>' for place in texts.places(pool, verdict)
            )
            yield f'<p class="do"><b>Do:</b> {escape(" ".join(verdict.advice))}</p>' if verdict.advice else ""
        elif verdict.name != HEALTHY:
            yield f'<p class="quiet">Also {escape(verdict.name)}: {escape(texts.meaning(verdict))} {_when(verdict)}</p>'
        yield from (f"<p>Note: {escape(note)}</p>" for note in verdict.notes)
    if exhausted := texts.exhausted(pool):
        yield f'<p class="alarm">{escape(exhausted)}</p>'
    if pool.lost_places:
        yield f'<p class="alarm">SQLAlchemy has lost {counted(pool.lost_places, "place")} of this pool.</p>'
    if pool.orphaned and (pool.verdict is None or pool.verdict.name != "leak"):
        lost = counted(pool.orphaned, "connection", "is", "are")
        yield f'<p class="alarm">{lost} lost: the code that took them has ended.</p>'


def _when(verdict: VerdictStatus) -> str:
    process = f", process {', '.join(map(str, verdict.pids))}" if verdict.pids else ""
    return f"<small>(report of {texts.clock(verdict.at)}{process})</small>" if verdict.at else ""


def _numbers(pool: PoolStatus) -> str:
    recent, period, together = pool.recent, texts.period(pool), texts.together(pool)
    saturated = duration(recent.saturated_seconds) if pool.is_measured else texts.NOT_KNOWN
    items = (
        _item("Used", texts.used_of_limit(pool), _bar(pool), is_alarming=pool.is_saturated),
        _item("Waiting", texts.number(pool.pending), is_alarming=bool(pool.pending)),
        _item("Oldest waits for", texts.seconds(pool.oldest_wait_seconds)),
        _item("Wait p50", texts.seconds(recent.wait_p50_seconds), _small(period)),
        _item("Wait p99", texts.seconds(recent.wait_p99_seconds), _small(period)),
        _item("Timeouts", str(recent.timeouts), _small(period), is_alarming=_has_new_timeouts(pool)),
        _item("Saturated", f"now, {saturated}" if pool.is_saturated else saturated, _small(period + together)),
        _item("Oldest use", texts.oldest_use(pool)),
    )
    return f"<dl>\n{''.join(items)}\n</dl>"


def _item(label: str, value: str, more: str = "", *, is_alarming: bool = False) -> str:
    kind = ' class="alarm"' if is_alarming else ""
    return f"<div><dt>{label}</dt><dd{kind}>{escape(value)}{more}</dd></div>\n"


def _small(text: str) -> str:
    return f"<small>{escape(text)}</small>"


def _has_new_timeouts(pool: PoolStatus) -> bool:
    return pool.recent.seconds is not None and pool.recent.timeouts > 0


def _bar(pool: PoolStatus) -> str:
    """Return how full a pool is as a bar; the text beside it says the same."""
    if not pool.limit or pool.used is None:
        return ""
    width = min(BAR, round(BAR * (pool.used + pool.lost_places) / pool.limit))
    kind = ' class="full"' if pool.is_saturated else ""
    box = f'viewBox="0 0 {BAR} 8" preserveAspectRatio="none" aria-hidden="true"'
    return f'<svg{kind} {box}><rect width="{width}" height="8"/></svg>'


def _held(pool: PoolStatus) -> Iterable[str]:
    held, waiting = sum(each.count for each in pool.holders), sum(each.count for each in pool.waiters)
    name = identifier(pool)
    if held:
        yield f"<h3>Held: {counted(held, 'connection')}, by unit of work and place</h3>"
        yield _listed([holders(group) for group in pool.holders], f"{name}-held")
    if waiting:
        yield f"<h3>Waiting: {counted(waiting, 'caller')}</h3>"
        yield _listed([_waiters(group) for group in pool.waiters], f"{name}-waiting")


def _listed(items: list[str], name: str) -> str:
    shown, more = items[:GROUPS_MAX], items[GROUPS_MAX:]
    folded = f'<details id="{name}"><summary>{counted(len(more), "group")} more</summary>\n{_list(more)}</details>'
    return _list(shown) + (f"\n{folded}" if more else "")


def _list(items: Iterable[str]) -> str:
    return f'<ul class="groups">\n{"".join(f"<li>{item}</li>{chr(10)}" for item in items)}</ul>'


def holders(group: HolderGroup, *, names_process: bool = True) -> str:
    """Return a group of holders: a line, and lines of further facts."""
    unit, held = escape(unit_text(group.unit, group.place)), texts.age(group.oldest_seconds, group.count)
    facts = ", ".join(filter(None, (held, texts.activities(group))))
    more = _facts(texts.holder_facts(group, names_process=names_process))
    return f"<b>{group.count} \N{MULTIPLICATION SIGN} {unit}</b> {escape(facts)}{more}"


def _waiters(group: WaiterGroup) -> str:
    unit, waited = escape(unit_text(group.unit, group.place)), texts.age(group.oldest_seconds, group.count)
    return f"<b>{group.count} \N{MULTIPLICATION SIGN} {unit}</b> {escape(waited)}{_facts(texts.waiter_facts(group))}"


def _facts(lines: Iterable[list[tuple[str, str]]]) -> str:
    return "".join(f'\n<span class="facts">{", ".join(map(_fact, facts))}</span>' for facts in lines)


def _fact(fact: tuple[str, str]) -> str:
    label, text = fact
    return f"{label} <code>{escape(text)}</code>"


def _row(pool: PoolStatus) -> str:
    cells = (
        (f"{_bar(pool)}{escape(texts.used_of_limit(pool))}", pool.is_saturated, ""),
        (texts.number(pool.pending), bool(pool.pending), ""),
        (texts.seconds(pool.recent.wait_p99_seconds), False, ""),
        (str(pool.timeouts) if pool.is_measured else texts.NOT_KNOWN, False, _wide("Timeouts since start")),
        (texts.oldest_use(pool) if pool.is_measured else texts.NOT_KNOWN, False, _wide("Oldest use")),
    )
    columns = "".join(f"<td{wide or _alarm(is_alarming)}>{text}</td>" for text, is_alarming, wide in cells)
    return f'<tr><th scope="row">{title(pool)}</th>{columns}</tr>'


def _alarm(is_alarming: bool) -> str:  # noqa: FBT001  # its one argument
    return ' class="alarm"' if is_alarming else ""


def _wide(head: str) -> str:
    """Return the attribute of a column that a phone has no room for."""
    return ' class="wide"' if head in ("Timeouts since start", "Oldest use") else ""
