"""What is on the screen: a pure function of the samples, the view and the size, for `rich` to print.

No meaning is in a colour alone: `rich` leaves colours out where NO_COLOR is set or the output is no terminal. Texts of
other processes are shown without control characters.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pool_exporter.advice.attention import LEVELS
from pool_exporter.commands.terminal.samples import Sample
from pool_exporter.commands.terminal.view import HELP, Row, View, chosen_index, rows_of
from pool_exporter.diagnosis.texts.wording import counted, duration, unit_text
from pool_exporter.diagnosis.verdict import HEALTHY
from pool_exporter.web.status import texts
from pool_exporter.web.status.values import HolderGroup, PoolStatus, Status, VerdictStatus

BAR: Final = 10
"""The width of a full bar."""
COLUMNS: Final = (
    (120, ("USED", "WAITING", "LONGEST", "P50", "P99", "TIMEOUTS", "SATURATED", "OLDEST USE")),
    (90, ("USED", "WAITING", "LONGEST", "P99", "TIMEOUTS")),
    (70, ("USED", "WAITING", "P99", "TIMEOUTS")),
    (0, ("USED", "WAITING")),
)
"""The columns, each with the least width of the terminal at which it is shown."""
FAULTS_MAX: Final = 4
"""Most lines on sources without an answer, and on processes that do not run."""
STALE_SECONDS: Final = 5.0

_ALARM: Final = "bold red"
_QUIET: Final = "dim"


def clean(text: str) -> str:
    """Return a text without control characters, which could change the terminal."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in str(text))


def head(samples: Sequence[Sample], view: View, now: float) -> Iterator[Text]:
    """Yield the lines above the pools: the state in a few words, sources without an answer, processes that do not run.

    Args:
        samples: What the sources said.
        view: What the operator has chosen.
        now: The time of the monotonic clock of the samples.
    """
    statuses = [sample.status for sample in samples if sample.status is not None]
    line = Text(_headline(statuses, samples), style="bold")
    if statuses:
        line.append(f"   {texts.clock(max(status.at for status in statuses))}", style="not bold dim")
    line.append("   paused" if view.is_paused else "", style="bold")
    yield line
    warnings = [*_faults(samples, now), *_directory_faults(statuses), *_stopped(statuses)]
    yield from warnings[:FAULTS_MAX]
    if len(warnings) > FAULTS_MAX:
        yield Text(f"! and {len(warnings) - FAULTS_MAX} more", style=_ALARM)


def _headline(statuses: Sequence[Status], samples: Sequence[Sample]) -> str:
    if len(statuses) == 1:
        return clean(texts.headline(statuses[0]))
    if not statuses:
        return "No answer" if any(sample.fault for sample in samples) else "Reading ..."
    trouble = sum(len(status.of_level(LEVELS[0])) for status in statuses)
    pools = counted(sum(len(status.pools) for status in statuses), "pool")
    return f"{trouble} of {pools} in trouble" if trouble else f"{pools}, no trouble"


def _faults(samples: Sequence[Sample], now: float) -> Iterator[Text]:
    for sample in samples:
        if sample.fault:
            old = f"; below is what it said {duration(now - sample.at)} ago" if sample.status else ""
            yield Text(f"! {clean(sample.source)}: {clean(sample.fault)}{old}", style=_ALARM)
        elif sample.status is not None and now - sample.at > STALE_SECONDS:
            yield Text(f"! {clean(sample.source)}: no answer for {duration(now - sample.at)}", style=_ALARM)


def _directory_faults(statuses: Iterable[Status]) -> Iterator[Text]:
    texts_of_all = dict.fromkeys(text for status in statuses for text in status.faults.values())
    return (Text(f"! {clean(text)}", style=_ALARM) for text in texts_of_all)


def _stopped(statuses: Iterable[Status]) -> Iterator[Text]:
    for status in statuses:
        for process in texts.stopped(status)[0]:
            yield Text(f"! {clean(texts.process_line(process, status.at))}", style="bold yellow")


def pool_table(rows: Sequence[Row], chosen: int | None, width: int) -> Table:
    """Return one line for each pool.

    Args:
        rows: The pools, in their order.
        chosen: The index of the chosen one; None without one.
        width: The width of the terminal in columns.
    """
    has_sources = len({row.source for row in rows}) > 1
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("", width=1)
    table.add_column("POOL", ratio=3, no_wrap=True, overflow="ellipsis")
    if has_sources and width >= COLUMNS[0][0]:
        table.add_column("SOURCE", ratio=2, no_wrap=True, overflow="ellipsis")
    table.add_column("STATE", no_wrap=True)
    for name in _columns(width):
        table.add_column(name, justify="right", no_wrap=True)
    for index, row in enumerate(rows):
        source = [Text(clean(row.source))] if has_sources and width >= COLUMNS[0][0] else []
        numbers = [_number(row.pool, name) for name in _columns(width)]
        mark = ">" if index == chosen else ""
        cells = (Text(mark), _name(row.pool), *source, _state(row.pool), *numbers)
        table.add_row(*cells, style="underline" if index == chosen else "")
    return table


def _columns(width: int) -> tuple[str, ...]:
    return next(columns for least, columns in COLUMNS if width >= least)


def _number(pool: PoolStatus, column: str) -> Text:
    recent, unknown = pool.recent, "" if pool.is_measured else "?"
    if column == "USED":
        return _used(pool)
    values = {
        "WAITING": ("?" if pool.pending is None else str(pool.pending), bool(pool.pending)),
        "LONGEST": (texts.seconds(pool.oldest_wait_seconds), False),
        "P50": (texts.seconds(recent.wait_p50_seconds), False),
        "P99": (texts.seconds(recent.wait_p99_seconds), False),
        "TIMEOUTS": (str(recent.timeouts), recent.seconds is not None and recent.timeouts > 0),
        "SATURATED": (duration(recent.saturated_seconds) if recent.saturated_seconds else texts.NOTHING, False),
        "OLDEST USE": (texts.oldest_use(pool), False),
    }
    text, is_alarming = values[column]
    return Text(unknown or text, style=_ALARM if is_alarming else "")


def _used(pool: PoolStatus) -> Text:
    if pool.is_ended:
        return Text(texts.NOTHING)
    if not pool.limit:
        return Text(f"{'?' if pool.used is None else pool.used}/\N{INFINITY}" if pool.is_measured else "?")
    taken = (pool.used or 0) + pool.lost_places
    width = min(BAR, -(-BAR * taken // pool.limit))
    style = _ALARM if pool.is_saturated else ""
    bar = ("\N{BLACK SQUARE}" * width, style or "blue"), ("\N{MIDDLE DOT}" * (BAR - width), _QUIET)
    return Text.assemble((f"{pool.used}/{pool.limit} ", style), *bar)


def _name(pool: PoolStatus) -> Text:
    name = Text(clean(pool.pool.name), style="bold" if pool.level == LEVELS[0] else "")
    return name.append(f" ({clean(pool.detail)})", style="not bold dim") if pool.detail else name


def _state(pool: PoolStatus) -> Text:
    if pool.verdict is not None:
        return Text(clean(pool.verdict.name), style=_ALARM)
    if pool.level == LEVELS[0]:
        return Text("in trouble", style=_ALARM)
    if pool.is_ended:
        return Text("ended")
    return Text("full" if pool.is_saturated else "busy" if pool.level == LEVELS[1] else "ok")


def detail(row: Row) -> Iterator[RenderableType]:
    """Yield all that is known of a pool: verdicts, numbers, holders and waiters."""
    pool = row.pool
    yield Text.assemble(_name(pool), "   ", _state(pool), f"   {clean(row.source)}")
    for verdict in pool.verdicts:
        yield from _explained(pool, verdict)
    if exhausted := texts.exhausted(pool):
        yield Text(exhausted, style=_ALARM)
    yield Text(_summary(pool))
    if not row.status.shows_holders:
        yield Text(clean(row.status.hint), style="yellow")
    if pool.holders:
        yield Text(f"\nHELD: {counted(sum(each.count for each in pool.holders), 'connection')}", style="bold")
    for group in pool.holders:
        yield from _group(group.count, unit_text(group.unit, group.place), _held(group), texts.holder_facts(group))
    if pool.waiters:
        yield Text(f"\nWAITING: {counted(sum(each.count for each in pool.waiters), 'caller')}", style="bold")
    for waiting in pool.waiters:
        waited = texts.age(waiting.oldest_seconds, waiting.count)
        yield from _group(waiting.count, unit_text(waiting.unit, waiting.place), waited, texts.waiter_facts(waiting))


def _held(group: HolderGroup) -> str:
    return ", ".join(filter(None, (texts.age(group.oldest_seconds, group.count), texts.activities(group))))


def _explained(pool: PoolStatus, verdict: VerdictStatus) -> Iterator[RenderableType]:
    if verdict is not pool.verdict:
        if verdict.name != HEALTHY:
            yield Text(
                clean(f"also {verdict.name}, at {texts.clock(verdict.at)}: {texts.meaning(verdict)}"), style=_QUIET
            )
        return
    yield Text(clean(f"{texts.situation(pool, verdict)} {verdict.why}".strip()))
    yield from (_indented(Text(clean(place))) for place in texts.places(pool, verdict))
    if verdict.advice:
        yield Text.assemble(("DO  ", "bold"), clean(" ".join(verdict.advice)))
    yield from (Text(clean(f"NOTE  {note}")) for note in verdict.notes)


def _summary(pool: PoolStatus) -> str:
    recent = pool.recent
    saturated = f"saturated {duration(recent.saturated_seconds)}{texts.together(pool)}"
    saturated += ", and now" * pool.is_saturated
    waits = f"wait p50 {texts.seconds(recent.wait_p50_seconds)}, p99 {texts.seconds(recent.wait_p99_seconds)}"
    now = f"used {texts.used_of_limit(pool)}, {texts.number(pool.pending)} waiting"
    longest = f" (longest {texts.seconds(pool.oldest_wait_seconds)})" if pool.oldest_wait_seconds else ""
    return (
        f"{now}{longest}, oldest use {texts.oldest_use(pool)}; "
        f"{texts.period(pool)}: {waits}, {counted(recent.timeouts, 'timeout')}, {saturated}"
    )


def _group(count: int, unit: str, what: str, facts: Iterable[list[texts.Fact]]) -> Iterator[RenderableType]:
    yield Text.assemble((f"  {count} x {clean(unit)}", "bold"), f"  {clean(what)}")
    for line in facts:
        joined = Text("   ").join(Text.assemble((f"{label} ", _QUIET), clean(text)) for label, text in line)
        yield _indented(joined)


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 6))


def once(samples: Sequence[Sample], view: View, width: int, now: float) -> Group:
    """Return everything at once, for `--once`: the pools, and all that is known of those in trouble."""
    rows = rows_of(samples, view)
    parts: list[RenderableType] = [*head(samples, view, now)]
    if rows:
        parts += [Text(), pool_table(rows, None, width)]
    for row in rows:
        if row.pool.level == LEVELS[0]:
            parts += [Text(), *detail(row)]
    return Group(*parts)


def help_lines() -> Iterator[RenderableType]:
    """Yield the keys and what they do."""
    keys = Table.grid(padding=(0, 2, 0, 0))
    for names, what in HELP:
        keys.add_row(Text(names, style="bold"), what)
    yield keys
    yield Text("\nAny other key goes back.", style=_QUIET)


def foot(rows: Sequence[Row], view: View) -> Text:
    """Return the line below the pools: where one is, and the keys."""
    if view.has_help:
        return Text("q quit", style=_QUIET)
    if view.is_open:
        return Text("Esc back   up/down scroll   space pause   q quit", style=_QUIET)
    where = f"{chosen_index(rows, view) + 1} of {len(rows)}" if rows else "no pool"
    order = f"{view.sort}{', reversed' if view.is_reversed else ''}"
    return Text(f"{where}   s order: {order}   Enter open   space pause   ? keys   q quit", style=_QUIET)


def window(rows: Sequence[Row], chosen: int, height: int) -> tuple[Sequence[Row], int]:
    """Return the rows that fit into *height* lines with the chosen one among them, and its index in them."""
    first = max(0, min(chosen - height // 2, len(rows) - height))
    return rows[first : first + max(1, height)], chosen - first
