"""What is the same for all holders of a report: which callers wait, what each owner and each unit does.

A scene refers to tasks, threads and stacks of the application; it is made for one report and dropped with it. Nothing
here may decide whether a connection is lost.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias, TypeVar

from pool_exporter.diagnosis.frames import Frame, Frames, is_application
from pool_exporter.diagnosis.locate import Stacks, Standing
from pool_exporter.metrics.holders import OWN_CODE, UNKNOWN, WAITING_FOR_POOL
from pool_exporter.state.connection import Connection
from pool_exporter.state.waiters import WaitingCaller
from pool_exporter.units import Unit

TasksOfUnit: TypeAlias = Callable[[Unit], Iterable[object]]
"""Returns the tasks that run for a unit, first the one in which it began."""

_Owned = TypeVar("_Owned", Connection, WaitingCaller)

_AWAITED_MAX: Final = 4
"""How many tasks of a chain are followed; each task waits for the next one."""


class Doing(NamedTuple):
    """What an owner or a unit does.

    Attributes:
        activity: As `Holder.activity`.
        now: The frames of the application, innermost first.
        is_self: Whether it, or a task that it waits for, waits for this pool.
        is_in_thread: Whether it, a task that it waits for, or one of the unit's tasks waits for a call in a thread.
        waiters: The callers of this pool that it waits for, or itself if it is one.
        is_ready: Whether one of its tasks waits for nothing but its turn in the event loop.
    """

    activity: str = UNKNOWN
    now: Frames = ()
    is_self: bool = False
    is_in_thread: bool = False
    waiters: tuple[WaitingCaller, ...] = ()
    is_ready: bool = False


class Scene:
    """The waiters and the owners of one pool at one moment."""

    def __init__(
        self, stacks: Stacks, waiters: Sequence[WaitingCaller], used: Sequence[Connection], tasks_of_unit: TasksOfUnit
    ) -> None:
        """Keep what the owners are, so that none is collected before the report is made.

        Args:
            stacks: The stacks of this report.
            waiters: The callers that wait for this pool.
            used: Its connections that are checked out, oldest first.
            tasks_of_unit: Returns the tasks that run for a unit.
        """
        self.stacks, self._tasks_of_unit = stacks, tasks_of_unit
        #: The owner of each waiter, by the id() of the owner.
        self._waiting = {id(owner): (owner, waiter) for owner, waiter in _owned(waiters)}
        self._waiters = waiters
        self._waiting_units = {id(waiter.unit) for waiter in waiters if waiter.unit is not None}
        self._tasks_found: dict[int, list[object]] = {}
        #: The youngest connection of each owner, likewise.
        self._youngest = {id(owner): (owner, connection) for owner, connection in _owned(used)}

    def waiter_of(self, owner: object) -> WaitingCaller | None:
        """Return the waiter that *owner* is; None if it does not wait."""
        return self._waiting.get(id(owner), (None, None))[1]

    def is_waiting(self, unit: Unit) -> bool:
        """Return whether a waiter runs for *unit*."""
        return id(unit) in self._waiting_units

    def waiters_of(self, unit: Unit) -> list[WaitingCaller]:
        """Return the waiters that run for *unit*."""
        return [waiter for waiter in self._waiters if waiter.unit is unit]

    def last_unit_of(self, owner: object) -> object:
        """Return the unit for which *owner* has checked out its youngest connection of this pool."""
        connection = self._youngest.get(id(owner), (None, None))[1]
        return None if connection is None else connection.unit

    def is_youngest(self, connection: Connection, owner: object) -> bool:
        """Return whether *owner* has checked out no connection of this pool after this one."""
        return self._youngest.get(id(owner), (None, connection))[1] is connection

    def doing_of(self, owner: object, *, with_awaited: bool, depth: int = 0) -> Doing:
        """Return what an owner does: a task that only waits does what the tasks do for which it waits.

        Args:
            owner: A task, thread or greenlet that has not ended.
            with_awaited: Whether to follow the tasks that it waits for.
            depth: How many tasks behind a holder it is.
        """
        standing, waiter = self.stacks.of(owner, with_awaited=with_awaited), self.waiter_of(owner)
        if waiter is not None:
            return Doing(WAITING_FOR_POOL, standing.now, is_self=True, waiters=(waiter,))
        found = Doing(standing.activity, standing.now, is_in_thread=standing.is_for_thread, is_ready=standing.is_ready)
        if found.activity != OWN_CODE or depth >= _AWAITED_MAX:
            return found
        for task in standing.waits_for:
            found = _with_awaited(found, self.doing_of(task, with_awaited=True, depth=depth + 1))
            if found.is_self:
                break
        others = filter(None, map(self.waiter_of, standing.waits_for))
        return found._replace(waiters=tuple(dict.fromkeys([*found.waiters, *others])))

    def doing_of_unit(self, unit: Unit) -> Doing | None:
        """Return what the tasks of a unit do; None if it has none that has not ended."""
        standings = self._standings(unit)
        if not standings:
            return None
        busy = [each.activity for each in standings if each.activity not in (OWN_CODE, UNKNOWN)]
        return Doing(
            (busy or [OWN_CODE])[-1],
            _best([each.now for each in reversed(standings)]),
            is_in_thread=any(each.is_for_thread for each in standings),
            is_ready=any(each.is_ready for each in standings),
        )

    def workers_of(self, unit: Unit) -> list[object] | None:
        """Return the worker threads of anyio that run something for a unit; None if it has no task."""
        tasks = self._tasks(unit)
        return [worker for task in tasks for worker in self.stacks.workers_behind(task)] if tasks else None

    def _standings(self, unit: Unit) -> list[Standing]:
        """Return what each task of a unit does: the task in which it began before those that it will wait for."""
        return [self.stacks.of(task, with_awaited=False) for task in self._tasks(unit)]

    def _tasks(self, unit: Unit) -> list[object]:
        """Return the tasks of a unit, looked for once: many holders may share it."""
        if id(unit) not in self._tasks_found:
            self._tasks_found[id(unit)] = self._find_tasks(unit)
        return self._tasks_found[id(unit)]

    def _find_tasks(self, unit: Unit) -> list[object]:
        tasks = list(self._tasks_of_unit(unit))
        inner = tasks[:1]
        for task in inner:  # The list grows meanwhile.
            inner += [each for each in self.stacks.tasks_behind(task) if each not in inner]
        return [*(task for task in tasks if task not in inner), *inner]


def _owned(things: Iterable[_Owned]) -> Iterator[tuple[object, _Owned]]:
    for each in things:
        owner = None if each.owner is None else each.owner()
        if owner is not None:
            yield owner, each


def _with_awaited(waiting: Doing, awaited: Doing) -> Doing:
    """Return what a task does that waits for another one."""
    now = awaited.now or waiting.now
    is_ready, is_in_thread = waiting.is_ready or awaited.is_ready, waiting.is_in_thread or awaited.is_in_thread
    waiting = waiting._replace(is_ready=is_ready, is_in_thread=is_in_thread)
    if awaited.is_self:
        return Doing(WAITING_FOR_POOL, now, is_self=True, waiters=awaited.waiters)
    if awaited.activity not in (UNKNOWN, OWN_CODE):
        return waiting._replace(activity=awaited.activity, now=now)
    return waiting._replace(now=_best([waiting.now, awaited.now]))


def _best(chains: list[Frames]) -> Frames:
    """Return the first of *chains* that is of the application; else the first that is not empty."""
    known = [chain for chain in chains if chain]
    own = [chain for chain in known if is_application(chain[0][0])]
    return (own or known or [()])[0]


def is_past(place: Iterable[Frame], frames: Iterable[Frame]) -> bool:
    """Return whether the function that checked out still runs, further on than the checkout.

    A function that is at the very same instruction is a second call of it, or the same checkout again.

    Args:
        place: The place of the checkout.
        frames: The stack of its thread.
    """
    at = dict(place)
    return any(at.get(code, instruction) != instruction for code, instruction in frames)
