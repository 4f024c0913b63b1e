"""The screens of `pool-exporter diagnose`: each pool of each process as its own report shows it, from outside.

Nothing here may read a file, a pool or a clock.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from pool_exporter.diagnosis.outside.set_aside import set_aside_lines
from pool_exporter.diagnosis.texts.diagnosis_text import MORE, held_lines, waiting_lines
from pool_exporter.diagnosis.texts.wording import counted, duration, listed, moment, paragraph, title_line
from pool_exporter.diagnosis.verdict import HEALTHY
from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.holders import ENDED
from pool_exporter.metrics.reports.process_report import FROZEN, LIVING, PoolReport, ProcessReport, shown_state

PIDS_MAX: Final = 8
"""At most this many processes with nothing to show are named."""

_ORDER: Final = (FROZEN, ENDED, LIVING)


def screen(reports: Sequence[ProcessReport], set_aside: Sequence[CorruptFile] = ()) -> str:
    """Return what the processes hold, those in trouble first, for an operator.

    Args:
        reports: The reports of processes.
        set_aside: The worker files that could not be used.
    """
    missing = set_aside_lines(set_aside)
    if not reports:
        return "\n".join(missing or ["No process has an instrumented pool in this directory.\n"])
    parts = [part for report in sorted(reports, key=_urgency) for part in _process(report)]
    rest = list(_rest(reports))
    return "\n".join([*parts, *rest, *([""] if rest and missing else []), *missing])


def _urgency(report: ProcessReport) -> tuple[int, int, int]:
    order = _ORDER.index(report.state) if report.state in _ORDER else len(_ORDER)
    return -report.waiting, order, report.pid


def _process(report: ProcessReport) -> Iterator[str]:
    shown = sorted((pool for pool in report.pools if _has_something(pool)), key=lambda pool: -len(pool.waiters))
    for pool in shown:
        yield "\n".join(_pool(report, pool)) + "\n"


def _has_something(pool: PoolReport) -> bool:
    return bool(pool.holders or pool.waiters or pool.verdict not in ("", HEALTHY))


def _rest(reports: Sequence[ProcessReport]) -> Iterator[str]:
    quiet = [report for report in reports if not any(map(_has_something, report.pools))]
    for state in _ORDER:
        found = [str(report.pid) for report in quiet if report.state == state]
        more = f" and {len(found) - PIDS_MAX} more" if len(found) > PIDS_MAX else ""
        if found:
            verb, tense = ("held", "") if state == ENDED else ("holds" if len(found) == 1 else "hold", " now")
            noun = "process" if len(found) == 1 else "processes"
            yield f"{len(found)} {state} {noun} {verb} nothing{tense}: {', '.join(found[:PIDS_MAX])}{more}"


def _pool(report: ProcessReport, pool: PoolReport) -> Iterator[str]:
    name = pool.verdict if pool.verdict not in ("", HEALTHY) else _state_name(report)
    yield title_line(f'pool "{pool.pool.name}": {name}', f"process {report.pid}   {moment(report.seen_at)}")
    yield from paragraph("", _state(report, pool))
    if pool.verdict not in ("", HEALTHY):
        yield from _verdict(report, pool)
    yield from listed("NOTE", pool.notes)
    yield from held_lines(pool.holders)
    yield from waiting_lines(pool.waiters)


def _state_name(report: ProcessReport) -> str:
    return shown_state(report.state, report.used, report.waiting)


def _state(report: ProcessReport, pool: PoolReport) -> str:
    service = f" of service {pool.pool.service}" if pool.pool.service else ""
    age = duration(report.heartbeat_age_seconds)
    if report.state == ENDED:
        held = f"{counted(len(pool.holders), 'connection', 'was', 'were')} held then, "
        held += f"and {counted(len(pool.waiters), 'caller')} waited."
        ages = " Ages are as of that heartbeat; what shows 0 ms began after it." if pool.holders or pool.waiters else ""
        ended = f"The process{service} has {_state_name(report).upper()}: its last heartbeat was {age} ago."
        return f"{ended} {held}{ages}"
    held = f"{counted(len(pool.holders), 'connection', 'is', 'are')} held, "
    held += f"{counted(len(pool.waiters), 'caller', 'waits', 'wait')}."
    if report.state == FROZEN:
        return f"The process{service} is FROZEN: it gave its last sign of life {age} ago. {held}"
    return f"The process{service} is living. {held}"


def _verdict(report: ProcessReport, pool: PoolReport) -> Iterator[str]:
    text = pool.summary.partition(f": {pool.verdict}: ")[2] or pool.summary
    before = report.seen_at - pool.verdict_at
    when = f" That report was made {duration(before)} earlier." if before >= 1 else ""
    yield from paragraph("", f"{text[:1].upper()}{text[1:]}{when}")
    yield from paragraph("WHY", pool.why) if pool.why else ()
    yield from listed("WHERE", pool.where)
    yield from paragraph("DO", f"{' '.join(pool.advice)} {MORE.format(pool.verdict)}")
