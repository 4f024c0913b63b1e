"""The texts of a diagnosis: the screen, the note of a TimeoutError, the summary and the notes. They are for people.

The layout is the same for each verdict: the verdict, WHY with its numbers, WHERE in the application, what to DO, what
is HELD and what waits. Nothing here may read a pool, a frame or a clock.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from pool_exporter.diagnosis.examination import Examination
from pool_exporter.diagnosis.texts.cures import CURES
from pool_exporter.diagnosis.texts.explanations import explanations
from pool_exporter.diagnosis.texts.holder_groups import groups, lines, rest, short
from pool_exporter.diagnosis.texts.reasons import TAKEN, situation, where, why
from pool_exporter.diagnosis.texts.wording import (
    LABEL,
    counted,
    duration,
    kept,
    kept_frames,
    listed,
    moment,
    paragraph,
    printable,
    title_line,
    unit_text,
    unkept,
)
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.diagnosis.verdict import verdict
from pool_exporter.encodable import encodable
from pool_exporter.metrics.holders import BETWEEN_FRAMES, Holder, Waiter

GROUPS_MAX: Final = 5
"""Most groups of holders on the screen."""
NOTE_GROUPS_MAX: Final = 2
"""Most groups of holders in the note of an exception."""
NOTE_PLACES_MAX: Final = 3
"""Most places in the note of an exception."""
WAITERS_MAX: Final = 3
"""Most groups of waiters on the screen."""
DATED_SECONDS: Final = 1.0
"""From this age on a note says when its report was made."""
MORE: Final = "More: pool-exporter diagnose --explain {}"
"""What prints all that is known of a verdict."""


def diagnosis(found: Examination, name: str = "", last: Diagnosis | None = None) -> Diagnosis:
    """Return the diagnosis of a pool.

    Args:
        found: What was found out about it.
        name: The verdict; by default that of the evidence.
        last: An earlier report to quote, with its verdict and reasons: what is found now says less.
    """
    name = (name or verdict(found.evidence)) if last is None else last.verdict
    explained_by = explanations(name, found.findings)
    notes = tuple(map(encodable, (*_notes(name, found), *found.notes, *explained_by)))
    places = where(name, found)
    made = Diagnosis(
        found.pool,
        found.at,
        name,
        printable(f'pool "{found.pool}": {name}: {_said(name, found, last)}'),
        found.holders,
        found.waiters,
        notes,
        found.evidence,
        tuple(unkept(place) for place, _ in places) if last is None else last.where,
        explained_by,
        why(name, found.evidence) if last is None else f"As of then: {last.why}",
        0.0 if last is None else last.at,
        found.uses,
        (places[0][1] if places else None) if last is None else last.culprit,
    )
    return replace(made, _screen="\n".join(_screen(made, found, last)))


def _said(name: str, found: Examination, last: Diagnosis | None) -> str:
    """Return what a verdict means and how full the pool is; of an earlier report, that it said so."""
    meaning = CURES[name].meaning
    if last is None:
        return f"{meaning}. {situation(found)}"
    return f"the report of {moment(last.at)} said: {meaning}. Now {situation(found)}"


def note(made: Diagnosis, age_seconds: float = 0.0, ended: int = 0) -> str:
    """Return the note for a TimeoutError: the verdict, what holds, where the fault is, what to do, and findings.

    Args:
        made: The report.
        age_seconds: How long before the timeout it was made.
        ended: How many of its holders have returned their connections since.
    """
    alike = groups(made.holders)
    text = [f"pool_exporter: {made.summary}", *_dated(made, age_seconds, ended)]
    text += [f"  {short(group)}" for group in alike[:NOTE_GROUPS_MAX]]
    if len(alike) > NOTE_GROUPS_MAX:
        text.append(f"  {rest(alike[NOTE_GROUPS_MAX:])}")
    places = [f"  {place}" for place in made.where if not place.startswith(TAKEN)]  # The holders' lines have those.
    findings = [f"  {finding}" for finding in made.explained_by]
    return "\n".join(map(printable, [*text, *places[:NOTE_PLACES_MAX], f"  {CURES[made.verdict].cure}", *findings]))


def _dated(made: Diagnosis, age_seconds: float, ended: int) -> Iterator[str]:
    """Yield when a report was made, where it is not as of the timeout."""
    if age_seconds >= DATED_SECONDS or ended:
        seen = f"  That was seen at {moment(made.at)}, {duration(age_seconds)} before this timeout."
        yield seen + (f" Of these {len(made.holders)} connections, {ended} have been returned since." if ended else "")


def _screen(made: Diagnosis, found: Examination, last: Diagnosis | None) -> Iterator[str]:
    name, said = made.verdict, _said(made.verdict, found, last)
    yield _head(name, found)
    yield from paragraph("", f"{said[0].upper()}{said[1:]}")
    yield from paragraph("WHY", made.why)
    yield from listed("WHERE", [place for place, _ in where(name, found)] if last is None else last.where)
    yield from paragraph("DO", f"{CURES[name].cure} {MORE.format(name)}")
    yield from listed("NOTE", made.notes)
    yield from held_lines(found.holders)
    yield from waiting_lines(found.waiters)


def _head(name: str, found: Examination) -> str:
    process = f"process {found.pid}   " if found.pid else ""
    return title_line(f'pool "{found.pool}": {name}', process + moment(found.at))


def held_lines(holders: Iterable[Holder]) -> Iterator[str]:
    """Yield the lines of the holders, grouped where they are alike: the largest group first."""
    alike = groups(holders)
    for number, group in enumerate(alike[:GROUPS_MAX]):
        first, *more = lines(group)
        yield first if number else f"  HELD  {first.lstrip()}"
        yield from more
    if len(alike) > GROUPS_MAX:
        yield from paragraph("", rest(alike[GROUPS_MAX:]))


def waiting_lines(waiters: Iterable[Waiter]) -> Iterator[str]:
    """Yield the lines of the waiters, grouped where they are alike: the largest group first."""
    alike: dict[tuple[str, str, int], list[Waiter]] = {}
    for waiter in waiters:
        alike.setdefault((waiter.place, waiter.unit, waiter.holds), []).append(waiter)
    found = sorted(alike.values(), key=lambda group: -len(group))
    for number, group in enumerate(found[:WAITERS_MAX]):
        first, *more = _waiting_alike(group)
        yield first if number else f"  WAIT  {first.lstrip()}"
        yield from more
    left = sum(map(len, found[WAITERS_MAX:]))
    if left:
        yield from paragraph("", f"... {counted(left, 'waiter')} more")


def _waiting_alike(group: list[Waiter]) -> Iterator[str]:
    oldest, holds = group[0], counted(group[0].holds, "connection")
    seconds = duration(oldest.seconds) + (" at most" if len(group) > 1 else "")
    owner = oldest.owner if all(each.owner == oldest.owner for each in group) else ""
    facts = [
        kept(unit_text(oldest.unit, oldest.place or oldest.owner)),
        seconds,
        f"holds {holds} already" if oldest.holds else "",
        owner,
    ]
    yield from paragraph("", f"{len(group)} x " + ", ".join(filter(None, facts)))
    if oldest.place:
        yield from paragraph(f"{'at':<9}", kept_frames(oldest.place.split(BETWEEN_FRAMES)), indent=LABEL + 4)


def _notes(name: str, found: Examination) -> Iterator[str]:
    """Yield what was seen besides the verdict."""
    e = found.evidence
    if e.n_lost and name != "leak":
        yield f"{counted(e.n_lost, 'connection', 'is', 'are')} lost: the code that took them has ended."
    if e.n_self and name != "self_deadlock":
        yield f"{counted(e.n_self, 'holder', 'waits', 'wait')} for another connection of this pool."
    if e.loop_waits and name != "loop_waits":
        yield "A caller waits for this synchronous pool on the thread of a running event loop."
    if e.lost_places and name != "lost_places":
        yield f"SQLAlchemy has lost {counted(e.lost_places, 'place')} of this pool."
    long = sum(holder.is_long for holder in found.holders)
    if long:
        yield f"{counted(long, 'connection', 'is', 'are')} held by units declared with long=True, and not counted."
