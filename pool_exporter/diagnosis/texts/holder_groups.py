"""The holders of a report, grouped where they are alike, and the lines that show a group.

Nothing here may know a verdict.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from pool_exporter.diagnosis.texts.wording import (
    LABEL,
    counted,
    duration,
    kept,
    kept_frames,
    paragraph,
    unit_text,
    unkept,
)
from pool_exporter.metrics.holders import (
    ACTIVE,
    BETWEEN_FRAMES,
    ENDED,
    EXECUTING,
    IN_TRANSACTION,
    OPENING,
    OWN_CODE,
    UNKNOWN,
    WAITING_FOR_POOL,
    Holder,
    Waiter,
)

SHOWN_MAX: Final = 3
"""Most names or process ids that are shown of one group."""

DOING: Final = {
    EXECUTING: "executing in the database",
    OPENING: "opening a connection",
    WAITING_FOR_POOL: "waiting for this pool",
    OWN_CODE: "in its own code",
    ENDED: "ended",
    UNKNOWN: "unknown what it does",
}
"""Each activity in words."""
KEEPS: Final = {IN_TRANSACTION: "in a transaction", ACTIVE: "in a statement"}
"""What a holder keeps open on the server, by the state of its connection."""


class AlikeHolders(NamedTuple):
    """Holders that differ only in time, owner and server process."""

    holders: tuple[Holder, ...]

    @property
    def like(self) -> Holder:
        """The oldest of them."""
        return self.holders[0]

    def __len__(self) -> int:
        return len(self.holders)


def groups(holders: Iterable[Holder]) -> list[AlikeHolders]:
    """Return the holders in groups: the largest first, of two of one size the one with the oldest holder."""
    found: dict[tuple[object, ...], list[Holder]] = {}
    for holder in sorted(holders, key=lambda holder: -holder.seconds):
        found.setdefault(_alike(holder), []).append(holder)
    return sorted((AlikeHolders(tuple(alike)) for alike in found.values()), key=lambda group: -len(group))


def _alike(holder: Holder) -> tuple[object, ...]:
    what = (holder.place, holder.unit, holder.unit_code, holder.activity, holder.now)
    return (*what, holder.transaction, holder.is_lost, holder.is_long)


def heading(group: AlikeHolders) -> str:
    """Return a group's first line: how many, their unit, for how long, and what they do."""
    like = group.like
    seconds = duration(like.seconds) if len(group) == 1 else f"{duration(like.seconds)} at most"
    transaction = KEEPS.get(like.transaction, "")
    unit = kept(unit_text(like.unit, like.place or like.owner))
    facts = [unit, seconds, DOING.get(like.activity, like.activity), transaction]
    marks = ["lost"] * (like.is_lost and like.activity != ENDED) + ["declared long"] * like.is_long
    return f"{len(group)} x " + ", ".join([*filter(None, facts), *marks])


def lines(group: AlikeHolders) -> Iterator[str]:
    """Yield the lines of a group in a report."""
    yield from paragraph("", heading(group))
    for label, text in _details(group):
        yield from paragraph(f"{label:<9}", text, indent=LABEL + 4)


def _details(group: AlikeHolders) -> Iterator[tuple[str, str]]:
    like = group.like
    yield "taken at", kept_place(like) or "(place of checkout unknown)"
    if like.unit_code:
        yield "endpoint", kept(like.unit_code)
    if like.now:
        yield "now at", kept_frames(like.now)
    owners = _some([holder.owner for holder in group.holders])
    pids = _some([str(holder.server_pid) for holder in group.holders if holder.server_pid])
    facts = [f"owner {owners}" if owners else "", f"server pid {pids}" if pids else ""]
    if any(facts):
        yield "by", ", ".join(filter(None, facts))
    servers = dict.fromkeys(holder.server for holder in group.holders if holder.server)
    yield from (("server", server) for server in list(servers)[:SHOWN_MAX])


def kept_place(of: Holder | Waiter) -> str:
    """Return the place of a holder's checkout, or of a waiter's call, for a line of `paragraph`."""
    return kept_frames(of.place.split(BETWEEN_FRAMES))


def _some(texts: Sequence[str]) -> str:
    different = list(dict.fromkeys(filter(None, texts)))
    more = len(different) - SHOWN_MAX
    return ", ".join(different[:SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def short(group: AlikeHolders) -> str:
    """Return a group in one line, for the note of an exception."""
    like = group.like
    where = [like.place and f"taken at {like.place}", like.unit_code and f"endpoint {like.unit_code}"]
    return unkept(", ".join([heading(group), *filter(None, where)]))


def rest(groups: Sequence[AlikeHolders]) -> str:
    """Return what stands for groups that are not shown."""
    return f"... {counted(sum(map(len, groups)), 'holder')} more"
