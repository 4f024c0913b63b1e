"""Each used connection as a `Holder`, the value of a report, and how it counts in the evidence.

The rules are those of docs/reference/verdicts.md. Nothing here may read a stack itself; `scene` does.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, NamedTuple, TypeAlias, cast

from pool_exporter.diagnosis.frames import Frames, is_application, text_of, text_of_code
from pool_exporter.diagnosis.survey.independence import is_independent
from pool_exporter.diagnosis.survey.scene import Doing, Scene, is_past
from pool_exporter.diagnosis.survey.span_names import span_name_of
from pool_exporter.encodable import encodable
from pool_exporter.hooks.checkout_owner import is_finished, name_of
from pool_exporter.hooks.orphans import is_anyio_worker
from pool_exporter.metrics.holders import (
    BETWEEN_FRAMES,
    ENDED,
    EXECUTING,
    OWN_CODE,
    UNKNOWN,
    WAITING_FOR_POOL,
    Holder,
    Uses,
)
from pool_exporter.state.connection import Connection
from pool_exporter.state.waiters import WaitingCaller
from pool_exporter.units import Unit

IsOrphan: TypeAlias = Callable[[Connection], bool]
"""Whether a connection is held by nothing that would return it: the rule of the metric of orphaned connections."""

LOST_SECONDS_MIN: Final = 5.0
"""A connection of a thread that is idle in its pool is lost after this time, or after ten times the p99 of a use."""


class Held(NamedTuple):
    """One holder, and how it counts.

    Attributes:
        holder: The value for the report.
        is_self: Whether it waits for this pool itself.
        is_nested: Whether its owner executes on a younger connection of this pool.
        waiters: The callers of this pool for which its owner waits.
        is_ready: Whether it goes on as soon as its event loop runs.
        is_in_libraries: Whether nothing of the application is in `holder.now`.
        is_independent: Whether its owner needs no other task or thread of its unit to return it.
    """

    holder: Holder
    is_self: bool = False
    is_nested: bool = False
    waiters: tuple[WaitingCaller, ...] = ()
    is_ready: bool = False
    is_in_libraries: bool = False
    is_independent: bool = False


class HolderRules(NamedTuple):
    """What the holders of one report are judged by.

    Attributes:
        scene: What waits, and what each owner does.
        is_orphan: The rule of orphans.
        is_idle_worker: Whether a thread waits in its thread pool for work; not one of anyio's.
        lost_after_seconds: From which age on a connection of such a thread is lost.
    """

    scene: Scene
    is_orphan: IsOrphan
    is_idle_worker: Callable[[object], bool]
    lost_after_seconds: float

    def held(self, connection: Connection, seconds: float, *, with_awaited: bool) -> Held:
        """Return what holds *connection*, which has been checked out for *seconds*.

        Args:
            connection: A connection that is checked out.
            seconds: For how long.
            with_awaited: Whether to follow the tasks that its owner waits for.
        """
        owner = None if connection.owner is None else connection.owner()
        unit, is_alive = unit_of(connection), owner is not None and not is_finished(lambda: owner)
        holder = _described(connection, unit, owner, seconds, is_alive=is_alive)
        if not holder.is_long and self._is_lost(connection, unit, owner, seconds):
            return Held(replace(holder, activity=ENDED, is_lost=True))
        doing = self._doing(connection, owner if is_alive else None, unit, with_awaited=with_awaited)
        is_nested, is_alone = is_alive and _is_nested(self.scene, connection, owner, doing), False
        if is_nested:
            doing = doing._replace(activity=OWN_CODE)
        elif unit is not None and not unit.is_done and not doing.is_self:
            is_followed = with_awaited and self.scene.stacks.may_follow
            is_alone = (
                is_alive
                and self.scene.is_waiting(unit)
                and is_independent(self.scene, connection, owner, doing, is_followed=is_followed)
            )
            doing = self._with_unit(doing, unit, is_of_task=is_alive and not _is_thread(owner), is_alone=is_alone)
        holder = replace(holder, activity=doing.activity, now=tuple(map(text_of, doing.now)))
        is_in_libraries = bool(doing.now) and not is_application(doing.now[0][0])
        return Held(holder, doing.is_self, is_nested, doing.waiters, doing.is_ready, is_in_libraries, is_alone)

    def _is_lost(self, connection: Connection, unit: Unit | None, owner: object, seconds: float) -> bool:
        if self.is_orphan(connection):
            return True
        is_running = unit is not None and not unit.is_done
        return not is_running and seconds > self.lost_after_seconds and self.is_idle_worker(owner)

    def _doing(self, connection: Connection, owner: object, unit: Unit | None, *, with_awaited: bool) -> Doing:
        """Return what the owner does for this connection; threads are used again for other work."""
        if owner is None:
            return Doing()
        doing, waiter = self.scene.doing_of(owner, with_awaited=with_awaited), self.scene.waiter_of(owner)
        if waiter is None or not _is_thread(owner):
            return doing
        if unit is not None and waiter.unit is unit:
            return doing
        return doing if self._is_running_on(owner, connection, unit) else Doing()

    def _is_running_on(self, thread: object, connection: Connection, unit: Unit | None) -> bool:
        """Return whether a thread goes on with the function that has checked out, now in another unit inside of it."""
        if not is_past(connection.place, self.scene.stacks.of(thread, with_awaited=False).frames):
            return False
        workers = self.scene.workers_of(unit) if unit is not None and is_anyio_worker(thread) else None
        return workers is None or thread in workers

    def _with_unit(self, doing: Doing, unit: Unit, *, is_of_task: bool, is_alone: bool) -> Doing:
        """Return what a running unit does, if the owner of one of its connections does *doing*."""
        if is_alone and not is_of_task:
            return doing
        found = self._of_unit(doing, unit, is_of_task=is_of_task)
        if self.scene.is_waiting(unit) and not is_alone:
            return Doing(WAITING_FOR_POOL, found.now, is_self=True)
        return found

    def _of_unit(self, doing: Doing, unit: Unit, *, is_of_task: bool) -> Doing:
        if is_of_task and (doing.activity != OWN_CODE or _is_known(doing)):
            return doing
        of_unit = self.scene.doing_of_unit(unit)
        if of_unit is None or (of_unit.is_in_thread and _is_known(doing)):
            return doing
        # A task that has libraries only on its stack waits for others, such as the one that streams its response.
        return doing._replace(now=of_unit.now) if is_of_task else of_unit


def uses_of(connections: Iterable[Connection]) -> Uses:
    """Return the uses of those of *connections* that are checked out."""
    return frozenset((id(each), each.since) for each in connections if each.is_used)


def unit_of(connection: Connection) -> Unit | None:
    """Return the unit of the connection's present use; None without one."""
    return cast("Unit | None", connection.unit)


def place_text(place: Frames) -> str:
    """Return a place as `Holder.place` has it."""
    return BETWEEN_FRAMES.join(map(text_of, place))


def _described(connection: Connection, unit: Unit | None, owner: object, seconds: float, *, is_alive: bool) -> Holder:
    code = None if unit is None else unit.code
    return Holder(
        seconds=seconds,
        place=place_text(connection.place),
        unit=encodable(span_name_of(owner)) if unit is None else unit.name,
        unit_code="" if code is None else text_of_code(code),
        owner=encodable(connection.owner_name or name_of(lambda: owner)),
        is_owner_alive=is_alive,
        is_long=unit is not None and unit.is_long and not unit.is_done,
    )


def _is_nested(scene: Scene, connection: Connection, owner: object, doing: Doing) -> bool:
    """Return whether the owner executes on another connection: it does so only on the youngest."""
    return doing.activity == EXECUTING and not doing.is_self and not scene.is_youngest(connection, owner)


def _is_thread(owner: object) -> bool:
    return hasattr(owner, "is_alive")


def _is_known(doing: Doing) -> bool:
    return doing.activity != UNKNOWN and bool(doing.now) and is_application(doing.now[0][0])
