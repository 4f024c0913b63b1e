"""The two places that every checkout passes: `connect`, when it begins, and `_return_conn`, when it ends.

Their replacements are the only code of ours that runs at each checkout, and here is where microseconds are spent or
saved. Nothing here may count (state.py does), nor let out an exception of ours; one that is thrown at the thread, as a
KeyboardInterrupt is, goes on its way after our books are in order.
"""

import sys
from collections.abc import Callable
from functools import update_wrapper
from types import FrameType
from typing import Any
from weakref import ref

from sqlalchemy.pool import Pool, PoolProxiedConnection

from pool_exporter.doors import ATTRIBUTE, Door
from pool_exporter.guard import errors, guarded
from pool_exporter.owners import owner_of_task, threads
from pool_exporter.records import failure_type
from pool_exporter.state import PoolState


class Watch:
    """What a watched pool carries: whose it is, and what its replaced methods need at hand."""

    __slots__ = ("door", "hooks", "is_async", "state")

    def __init__(self, hooks: Any, state: PoolState, *, is_async: bool) -> None:
        self.hooks = hooks
        self.state = state
        #: Whether a task may be the owner of what is checked out.
        self.is_async = is_async
        #: The `connect` at which its callers are counted; None while it has not served yet.
        self.door: object | None = None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Leave nothing but None in a pickled pool."""
        return type(None), ()


class OwnDoor:
    """A `connect` of one pool object, replaced."""

    def __init__(self, before: Callable[[], Any]) -> None:
        self.before = before
        self.replacement: Callable[[], Any] | None = None


class Newcomers:
    """Who wants to be told of pools that nobody watches, when they are first asked for a connection."""

    def __init__(self) -> None:
        self.meet: Callable[[Pool, FrameType], None] | None = None


newcomers = Newcomers()


def timed_connect(  # noqa: C901  # each function more is a call at every checkout
    connect_of: Callable[[Any], PoolProxiedConnection], door: object
) -> Callable[[Any], Any]:
    """Return a `connect` that tells who waits, who gets a connection and who does not."""

    def connect(self: Any) -> Any:  # noqa: C901  # likewise
        try:
            watch = self._pool_exporter
        except AttributeError:  # The doors were removed while this call came in.
            return connect_of(self)
        if watch is None or watch.door is not door:
            watch = _entering(self, watch, door)
            if watch is None:
                return connect_of(self)
        state = watch.state
        try:
            if not state.mark[0]:  # Forked without a word: it is the parent's.
                state.strayed()
                state = watch.state
            ask = state.asked()
        except Exception as error:  # noqa: BLE001  # as in `guarded`, which would cost another call
            errors.report(error)
            return connect_of(self)
        try:
            proxied = connect_of(self)
        except BaseException as error:
            _fail(state, ask, error)
            raise
        try:
            record = proxied._connection_record
            try:
                connection = record._pool_exporter
            except AttributeError:  # They were removed meanwhile.
                connection = None
            if connection is None:
                connection = watch.hooks.found(record)
            if connection.pool is state:
                owner = owner_of_task() if watch.is_async else threads.owner
                wait = state.granted(ask, connection, record.fairy_ref, owner)
                if wait >= state.slow.ns:
                    state.slow.tell(wait, None)
            else:
                state.forgotten(ask)  # Others watch the pool now: it was closed and instrumented again meanwhile.
        except BaseException as error:  # noqa: BLE001  # what is not ours is raised again
            _forget(state, ask, error)
        return proxied

    return connect


def time_own_connect(pool: Pool, watch: Watch) -> None:
    """Time a `connect` that somebody has put on the pool itself: the class's, it may never come to."""
    before = vars(pool).get("connect")
    if before is not None:
        watch.door = door = OwnDoor(before)
        timed, reference = timed_connect(lambda _: before(), door), ref(pool)
        door.replacement = vars(pool)["connect"] = update_wrapper(lambda: timed(reference()), before)


def restore_own_connect(pool: Pool, watch: Watch) -> None:
    """Put back what somebody had put there, unless it lies under something of somebody else's now."""
    door = watch.door
    if isinstance(door, OwnDoor) and vars(pool).get("connect") is door.replacement:
        vars(pool)["connect"] = door.before


def told_return(return_of: Callable[..., None], _: Door) -> Callable[[Any, Any], None]:
    """Return a `_return_conn` that ends the use before the record is back, where the next caller may get it."""

    def _return_conn(self: Any, record: Any) -> None:
        try:
            try:
                connection = record._pool_exporter
            except AttributeError:  # As above.
                connection = None
            if connection is not None:
                connection.pool.returned(connection)
                # Kept any longer, SQLAlchemy's callback of this reference would run whenever a proxy dies.
                connection.checkout = None
        except Exception as error:  # noqa: BLE001  # as in `guarded`
            errors.report(error)
        finally:  # An interrupt in our part must not cost the pool its place.
            return_of(self, record)

    return _return_conn


def _entering(pool: Pool, watch: Watch | None, door: object) -> Watch | None:
    """Return who counts a call that came through *door*, if anybody does here: a class may pass it on to its parent."""
    if watch is None:
        if newcomers.meet is not None:
            newcomers.meet(pool, sys._getframe(2))
        # Where the pool's callers will be counted from now on, this one has passed already.
        return getattr(pool, ATTRIBUTE, None)
    if watch.door is None:
        watch.hooks.serve(pool)
    return watch if watch.door is door else None


@guarded
def _fail(state: PoolState, ask: int, error: BaseException) -> None:
    try:
        wait = state.failed(ask, failure_type(error))
    except BaseException:
        state.forgotten(ask)
        raise
    state.slow.tell(wait, error)


def _forget(state: PoolState, ask: int, error: BaseException) -> None:
    guarded(state.forgotten)(ask)
    if not isinstance(error, Exception):
        raise error
    errors.report(error)
