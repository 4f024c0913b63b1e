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

from pool_exporter.hook_errors import errors, guarded
from pool_exporter.hooks.checkout_owner import owner_of_task, threads
from pool_exporter.hooks.method_patches import ATTRIBUTE, MethodPatch
from pool_exporter.hooks.sqlalchemy_private import failure_type
from pool_exporter.state.pool_state import PoolState


class PoolBinding:
    """What a watched pool carries: whose it is, and what its replaced methods need at hand."""

    __slots__ = ("hooks", "is_async", "patch", "state")

    def __init__(self, hooks: Any, state: PoolState, *, is_async: bool) -> None:
        self.hooks = hooks
        self.state = state
        #: Whether a task may be the owner of what is checked out.
        self.is_async = is_async
        #: The `connect` at which its callers are counted; None while it has not served yet.
        self.patch: object | None = None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Leave nothing but None in a pickled pool."""
        return type(None), ()


class InstancePatch:
    """A `connect` of one pool object, replaced."""

    def __init__(self, before: Callable[[], Any]) -> None:
        self.before = before
        self.replacement: Callable[[], Any] | None = None


class UninstrumentedPoolHandler:
    """Who wants to be told of pools that nobody watches, when they are first asked for a connection."""

    def __init__(self) -> None:
        self.on_uninstrumented_pool: Callable[[Pool, FrameType], None] | None = None


uninstrumented_pool_handler = UninstrumentedPoolHandler()


def patched_connect(  # noqa: C901  # each function more is a call at every checkout
    connect_of: Callable[[Any], PoolProxiedConnection], patch: object
) -> Callable[[Any], Any]:
    """Return a `connect` that tells who waits, who gets a connection and who does not."""

    def connect(self: Any) -> Any:  # noqa: C901  # likewise
        try:
            binding = self._pool_exporter
        except AttributeError:  # The doors were removed while this call came in.
            return connect_of(self)
        if binding is None or binding.patch is not patch:
            binding = _entering(self, binding, patch)
            if binding is None:
                return connect_of(self)
        state = binding.state
        try:
            if not state.sentinel[0]:  # Forked without a word: it is the parent's.
                state.on_fork_detected()
                state = binding.state
            token = state.acquire_started()
        except Exception as error:  # noqa: BLE001  # as in `guarded`, which would cost another call
            errors.report(error)
            return connect_of(self)
        try:
            proxied = connect_of(self)
        except BaseException as error:
            _fail(state, token, error)
            raise
        try:
            record = proxied._connection_record
            try:
                connection = record._pool_exporter
            except AttributeError:  # They were removed meanwhile.
                connection = None
            if connection is None:
                connection = binding.hooks.adopt(record)
            if connection.pool is state:
                owner = owner_of_task() if binding.is_async else threads.owner
                wait = state.acquired(token, connection, record.fairy_ref, owner)
                if wait >= state.slow_acquire.threshold_ns:
                    state.slow_acquire.on_slow_acquire(wait, None, None)
            else:
                state.acquire_abandoned(
                    token
                )  # Others watch the pool now: it was closed and instrumented again meanwhile.
        except BaseException as error:  # noqa: BLE001  # what is not ours is raised again
            _forget(state, token, error)
        return proxied

    return connect


def patch_instance_connect(pool: Pool, binding: PoolBinding) -> None:
    """Time a `connect` that somebody has put on the pool itself: the class's, it may never come to."""
    before = vars(pool).get("connect")
    if before is not None:
        binding.patch = patch = InstancePatch(before)
        timed, reference = patched_connect(lambda _: before(), patch), ref(pool)
        patch.replacement = vars(pool)["connect"] = update_wrapper(lambda: timed(reference()), before)


def restore_instance_connect(pool: Pool, binding: PoolBinding) -> None:
    """Put back what somebody had put there, unless it lies under something of somebody else's now."""
    patch = binding.patch
    if isinstance(patch, InstancePatch) and vars(pool).get("connect") is patch.replacement:
        vars(pool)["connect"] = patch.before


def patched_return(return_of: Callable[..., None], _: MethodPatch) -> Callable[[Any, Any], None]:
    """Return a `_return_conn` that ends the use before the record is back, where the next caller may get it."""

    def _return_conn(self: Any, record: Any) -> None:
        try:
            try:
                connection = record._pool_exporter
            except AttributeError:  # As above.
                connection = None
            if connection is not None:
                connection.pool.released(connection)
                # Kept any longer, SQLAlchemy's callback of this reference would run whenever a proxy dies.
                connection.checkout = None
        except Exception as error:  # noqa: BLE001  # as in `guarded`
            errors.report(error)
        finally:  # An interrupt in our part must not cost the pool its place.
            return_of(self, record)

    return _return_conn


def _entering(pool: Pool, binding: PoolBinding | None, patch: object) -> PoolBinding | None:
    """Return who counts a call that came through *door*, if anybody does here: a class may pass it on to its parent."""
    if binding is None:
        if uninstrumented_pool_handler.on_uninstrumented_pool is not None:
            uninstrumented_pool_handler.on_uninstrumented_pool(pool, sys._getframe(2))
        # Where the pool's callers will be counted from now on, this one has passed already.
        return getattr(pool, ATTRIBUTE, None)
    if binding.patch is None:
        binding.hooks.activate_recreated_pool(pool)
    return binding if binding.patch is patch else None


@guarded
def _fail(state: PoolState, token: int, error: BaseException) -> None:
    try:
        error_type = failure_type(error)
        wait = state.acquire_failed(token, error_type)
    except BaseException:
        state.acquire_abandoned(token)
        raise
    state.slow_acquire.on_slow_acquire(wait, error_type, error)


def _forget(state: PoolState, token: int, error: BaseException) -> None:
    guarded(state.acquire_abandoned)(token)
    if not isinstance(error, Exception):
        raise error
    errors.report(error)
