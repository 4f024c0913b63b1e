"""The callers that wait for a connection because no place of the pool is left, and the grants that they see meanwhile.

They are kept for a report on an exhausted pool. A caller that has a place left is not here: it only opens its
connection. Nothing here may know SQLAlchemy. Of the application only names, code objects, and weak references are kept.
"""

from typing import Final

from pool_exporter.state.connection import Place, Reference
from pool_exporter.state.layout import SECOND
from pool_exporter.state.unit_uses import Unit

GAP_NS: Final = SECOND // 4
"""A time of this length between two grants is a gap."""


class WaitingCaller:
    """A caller that waits for a place of the pool.

    Attributes:
        since: When it began, in nanoseconds since the pool's origin.
        owner: The task, greenlet or thread that waits.
        owner_name: Its name.
        unit: Its unit of work.
        place: Where in the application it waits.
        loop: The event loop that runs in its thread; None where none does.
        thread_id: The thread.
    """

    __slots__ = ("loop", "owner", "owner_name", "place", "since", "thread_id", "unit")

    def __init__(  # noqa: PLR0913, PLR0917  # it is made of what is known of the caller, at one place
        self,
        since: int,
        owner: Reference,
        owner_name: str,
        unit: Unit | None,
        place: Place,
        loop: Reference,
        thread_id: int,
    ) -> None:
        self.since, self.thread_id = since, thread_id
        self.owner, self.owner_name, self.loop = owner, owner_name, loop
        self.unit, self.place = unit, place


class Waiters:
    """The waiting callers of one pool by their tokens, and when connections were granted while any waited.

    Attributes:
        by_token: Each waiting caller by the token of its acquire.
        grants: How many callers got a connection while any waited, itself included.
        granted_at: When the last of them did, in nanoseconds since the pool's origin.
        gap: Begin and end of the last time of `GAP_NS` or more between two grants.
    """

    __slots__ = ("by_token", "gap", "granted_at", "grants")

    def __init__(self) -> None:
        self.by_token: dict[int, WaitingCaller] = {}
        self.grants = self.granted_at = 0
        self.gap = (0, 0)

    def granted(self, token: int, now: int) -> None:
        """Note that the caller of *token* got a connection at *now*, in nanoseconds since the pool's origin."""
        self.by_token.pop(token, None)
        self.grants += 1
        if now - self.granted_at >= GAP_NS:
            self.gap = self.granted_at, now
        self.granted_at = now

    def oldest_first(self) -> list[WaitingCaller]:
        """Return the waiting callers, the one that waits longest first."""
        return sorted(self.by_token.copy().values(), key=lambda waiter: waiter.since)
