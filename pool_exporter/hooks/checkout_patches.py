# cython: annotation_typing=True, language_level=3
"""The two methods that every checkout passes: `connect`, where it begins, and `_return_conn`, where it ends.

Their replacements, the transitions and the description of the caller (callers/) that they call are all that runs at
each checkout: they are written for speed. Nothing here may count (`state.pool_state` does) or let an error of the
package out. An exception that another thread or a signal raises here, such as KeyboardInterrupt, is raised again after
the numbers were corrected.
"""

import sys
from collections.abc import Callable
from functools import update_wrapper
from types import FrameType
from typing import TypeAlias
from weakref import ref

from sqlalchemy.pool import Pool

from pool_exporter.hook_errors import errors
from pool_exporter.hooks.call_stack import failure_type
from pool_exporter.hooks.callers.native import native
from pool_exporter.hooks.callers.waiting import current_caller, wait_began, wait_timed_out
from pool_exporter.hooks.checkout_owner import new_threads
from pool_exporter.hooks.method_patches import Method
from pool_exporter.hooks.pool_binding import ATTRIBUTE, Patch, PoolBinding, Proxied, Record
from pool_exporter.hooks.sqlalchemy_private import is_known_signature
from pool_exporter.state.connection import Connection
from pool_exporter.state.pool_slots import IS_COMPILED, UNLIMITED
from pool_exporter.state.pool_state import PoolState
from pool_exporter.units import Unit, current_unit

Connect: TypeAlias = Callable[[Pool], Proxied]
Return: TypeAlias = Callable[[Pool, Record], None]


threads = new_threads()
"""Has the current thread or greenlet as `owner`. `PoolHooks` replaces it when `threading` has been patched since."""

present_unit: Callable[[], Unit | None] = current_unit.get
"""Returns the unit of work of the present context. Its `get` read at each call would be a new object each time."""


class InstancePatch:
    """A `connect` that another library has set on one pool object, replaced."""

    is_shadowed = False

    def __init__(self, original: Callable[[], Proxied]) -> None:
        self.original = original
        self.replacement: Callable[[], Proxied] | None = None

    def is_dropped(self, pool: Pool) -> bool:
        """Return whether the library has removed its `connect` from the pool, or put it back, over the replacement."""
        current = vars(pool).get("connect")
        return current is None or current is self.original


class UninstrumentedPoolHandler:
    """Holds the callback that is invoked on each `connect()` of an uninstrumented pool, with the caller's frame."""

    def __init__(self) -> None:
        self.on_uninstrumented_pool: Callable[[Pool, FrameType], None] | None = None


uninstrumented_pool_handler = UninstrumentedPoolHandler()


def patched_connect(connect_of: Method, patch: Patch) -> Method:
    """Return a `connect` that reports when a caller begins to wait, and gets a connection or fails."""
    if is_known_signature("connect", connect_of):
        return _connect(connect_of, patch)

    def connect(self: Pool, *arguments: object, **options: object) -> Proxied:
        # Made for each call, so that it passes on whatever arguments a later SQLAlchemy has.
        return _connect(lambda pool: connect_of(pool, *arguments, **options), patch)(self)

    return connect


def _connect(connect_of: Connect, patch: Patch) -> Connect:  # noqa: C901  # a further call costs time at each checkout
    def connect(self: Pool) -> Proxied:  # noqa: C901, PLR0912  # same reason as above: speed
        try:
            binding: PoolBinding | None = self._pool_exporter  # type: ignore[attr-defined]  # `PatchSet.open()` sets it
            if binding is None or binding.patch is not patch:
                binding = _binding_counted_at(self, patch)
        except AttributeError:  # The patches were removed while this call came in.
            binding = None
        if binding is None:
            return connect_of(self)
        state: PoolState = binding.state
        try:
            if not state.sentinel[0]:  # The first event, or this state is the parent's of a process forked in C.
                state.before_event()
                state = binding.state
            token = state.acquire_started(unit := native.value_of(current_unit) if IS_COMPILED else present_unit())
        except Exception as error:  # noqa: BLE001  # as in `guarded`, which would cost another call
            errors.report(error)
            return connect_of(self)
        proxied, wait = None, -1
        try:
            if state.used + state.pending > state.limit and state.limit != UNLIMITED:
                wait_began(state, token, unit, threads.owner)
            proxied = connect_of(self)
            record: Record = proxied._connection_record  # type: ignore[assignment]  # a new one has its record
            try:  # Not `getattr()`, which is a call.
                connection: Connection = record._pool_exporter or binding.hooks.adopt(record)
            except AttributeError:  # The patches were removed meanwhile.
                connection = binding.hooks.adopt(record)
            if connection.pool is state:
                wait = state.acquired(token, connection, record.fairy_ref, current_caller(unit, threads))
            else:  # The monitor was closed, and the pool instrumented again, meanwhile: others count the connection.
                state.acquire_abandoned(token)
        except BaseException as error:
            try:
                try:
                    failure = _fail(state, token, error, proxied, unit)
                except BaseException:
                    state.acquire_abandoned(token)  # Called here, it needs no deeper a stack than `acquire_started`.
                    raise
                _report_slow(state, *failure, error)
            except Exception as own_error:  # noqa: BLE001  # as in `guarded`; the application gets SQLAlchemy's error
                errors.report(own_error)
            if proxied is None:
                raise
        if state.slow_acquire is not None and wait >= state.slow_acquire.threshold_ns:
            _report_slow(state, wait, None, None)
        return proxied

    return connect


def patch_instance_connect(pool: Pool, binding: PoolBinding) -> None:
    """Count at a `connect` that another library has set on the pool itself: it may never call the class's."""
    original = vars(pool).get("connect")
    if original is not None:
        binding.patch = patch = InstancePatch(original)
        counted = patched_connect(lambda _, *arguments, **options: original(*arguments, **options), patch)
        reference = ref(pool)
        patch.replacement = vars(pool)["connect"] = update_wrapper(
            lambda *arguments, **options: counted(reference(), *arguments, **options), original
        )


def restore_instance_connect(pool: Pool, binding: PoolBinding) -> None:
    """Put the other library's `connect` back, unless something has been set over the replacement since."""
    patch = binding.patch
    if isinstance(patch, InstancePatch) and vars(pool).get("connect") is patch.replacement:
        vars(pool)["connect"] = patch.original


def patched_return(return_of: Method, _: Patch) -> Method:
    """Return a `_return_conn` that ends the use once the pool has the record back.

    The next caller may get it before that is noted: then `acquired()` ends the use that is being returned.
    """
    if is_known_signature("_return_conn", return_of):
        return _return(return_of)

    def _return_conn(self: Pool, *arguments: object, **options: object) -> None:
        # Made for each call, as above. An application's subclass may have another name for the record, which is first.
        record: Record = (*arguments, options.get("record"))[0]  # type: ignore[assignment]  # as SQLAlchemy has it
        _return(lambda pool, _: return_of(pool, *arguments, **options))(self, record)

    return _return_conn


def _return(return_of: Return) -> Return:
    def _return_conn(self: Pool, record: Record) -> None:
        connection: Connection | None = None
        checkout = None
        try:
            try:
                connection = record._pool_exporter
            except AttributeError:  # The patches were removed meanwhile.
                connection = None
            if connection is not None:
                checkout = connection.checkout
                if checkout is not None:
                    connection.is_lost = checkout() is None
                connection.is_returning = True
        except Exception as error:  # noqa: BLE001  # as in `guarded`
            errors.report(error)
        finally:  # After an interrupt in the lines above, too, the pool must get the record back.
            return_of(self, record)
        # Not after an exception: the pool may not have the record back. `refresh()` ends the use if it has.
        if connection is not None:
            try:
                state: PoolState = connection.pool  # type: ignore[assignment]  # only a state machine makes connections
                state.returned(connection, checkout)
            except Exception as error:  # noqa: BLE001  # likewise
                errors.report(error)

    return _return_conn


def _binding_counted_at(pool: Pool, patch: Patch) -> PoolBinding | None:
    """Return the pool's binding if its callers are counted at *patch*; None if they are not, or at another patch.

    Called when the pool is not instrumented, was just recreated, or its class calls its parent's `connect()`.
    """
    try:
        binding: PoolBinding | None = getattr(pool, ATTRIBUTE, None)
        if patch.is_shadowed:
            return None
        if binding is None:
            if uninstrumented_pool_handler.on_uninstrumented_pool is not None:
                uninstrumented_pool_handler.on_uninstrumented_pool(pool, sys._getframe(0 if IS_COMPILED else 2))
            # This call already passed the pool's own patch, so it must not be counted here as well.
            return getattr(pool, ATTRIBUTE, None)
        if binding.patch is None:
            binding.hooks.activate_recreated_pool(pool)
    except Exception as error:  # noqa: BLE001  # as in `guarded`, which returns nothing
        errors.report(error)
        return None
    else:
        return binding if binding.patch is patch else None


def _fail(
    state: PoolState, token: int, error: BaseException, proxied: Proxied | None, unit: Unit | None
) -> tuple[int, str]:
    """Count a failed acquire.

    Returns:
        Its wait in nanoseconds, and one of `ERROR_TYPES`.

    Raises:
        BaseException: *error*, if there is a connection: then it comes from a hook or is an interrupt.
    """
    if proxied is not None:
        raise error
    error_type = failure_type(error)
    if error_type == "timeout":
        wait_timed_out(state, token, unit, threads.owner, error)
    return state.acquire_failed(token, error_type), error_type


def _report_slow(state: PoolState, wait: int, error_type: str | None, error: BaseException | None) -> None:
    """Call the callback of slow acquires, if there is one. Its errors are reported, never raised."""
    try:
        if state.slow_acquire is not None:
            state.slow_acquire.on_slow_acquire(wait, error_type, error)
    except RecursionError:  # `report` may fail as well.
        errors.count += 1
    except Exception as own_error:  # noqa: BLE001  # as in `guarded`
        errors.report(own_error)
