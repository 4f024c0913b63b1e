"""The places of a pool that every checkout passes: `connect`, when it begins, and `_return_conn`, when it ends.

And `recreate`, by which an engine gets another pool. All are replaced on the pool object, over the methods of its
class, whichever that is, or over attributes that somebody else put there before. The replacements hold the pool weakly:
a strong reference would be a cycle, and the pool would no longer be freed when its last user drops it. Nothing may be
counted here; state.py does that.

Why not the events `checkout` and `checkin`: none fires when a caller begins to wait or gives up, `checkin` also fires
for what was never checked out and before the record is back, and each listener costs 0.4 microseconds of a checkout
that takes 4 (tests/bench has the figures). Why not `engine_disposed`: one listener of an engine's events makes
SQLAlchemy look for more of them at every statement.
"""

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any, Final
from weakref import ref

from sqlalchemy.pool import Pool, PoolProxiedConnection

from pool_exporter.connection import Connection
from pool_exporter.guard import errors, guarded
from pool_exporter.owners import owner_of_task, owner_of_thread
from pool_exporter.records import failure_type
from pool_exporter.state import PoolState

_BEFORE: Final = "_pool_exporter_before"
"""A replacement's own attribute: what stood in the pool's `__dict__` before, or None."""

ON_CLASS: Final = "_pool_exporter_original"
"""An attribute of a `connect` that `instrument_all()` put on a class: the one that was there."""

Found = Callable[[Any], Connection]
"""Gives the connection of a record that was opened before anyone watched."""


Succeeded = Callable[[Pool], None]
"""Is told of the pool that comes after."""


def arm(pool: Pool, state: PoolState, found: Found, succeeded: Succeeded) -> None:
    """Replace the pool's methods by ones that tell *state*, and *succeeded*."""
    _replace(pool, "recreate", partial(told_recreation, succeeded))
    _replace(pool, "_return_conn", told_return)
    _replace(pool, "connect", partial(timed_connect, state, found))


def disarm(pool: Pool) -> None:
    """Put back what was there; a replacement that somebody wrapped meanwhile cannot be taken from under the wrapper."""
    for name in ("connect", "_return_conn", "recreate"):
        replacement = pool.__dict__.get(name)
        if hasattr(replacement, _BEFORE):
            before = getattr(replacement, _BEFORE)
            del pool.__dict__[name]
            if before is not None:
                pool.__dict__[name] = before


def _replace(pool: Pool, name: str, make: Callable[[Callable[..., Any], Pool], Callable[..., Any]]) -> None:
    method, before = getattr(type(pool), name), pool.__dict__.get(name)
    method = getattr(method, ON_CLASS, method)
    inner = method if before is None else lambda _, *arguments: before(*arguments)
    replacement = update_wrapper(make(inner, pool), method)
    setattr(replacement, _BEFORE, before)
    pool.__dict__[name] = replacement


def told_return(return_of: Callable[..., None], pool: Pool) -> Callable[[Any], None]:
    """Return a `_return_conn` that ends the use before the record is back, where the next caller may get it."""
    pool_reference = ref(pool)

    def _return_conn(record: Any) -> None:
        try:
            try:
                connection = record._pool_exporter
            except AttributeError:
                pass  # The record never held a connection that is watched.
            else:
                connection.pool.returned(connection)
                # Kept any longer, SQLAlchemy's callback of this reference would run whenever a proxy dies.
                connection.checkout = None
        except Exception as error:  # noqa: BLE001  # as in `guarded`, which would cost another call
            errors.report(error)
        finally:  # An interrupt in our part must not cost the pool its place.
            return_of(pool_reference(), record)

    return _return_conn


def told_recreation(succeeded: Succeeded, recreate_of: Callable[..., Pool], pool: Pool) -> Callable[[], Pool]:
    """Return a `recreate` that has the new pool watched before anybody has it."""
    pool_reference = ref(pool)

    def recreate() -> Pool:
        successor = recreate_of(pool_reference())
        succeeded(successor)
        return successor

    return recreate


def timed_connect(
    state: PoolState, found: Found, connect_of: Callable[..., PoolProxiedConnection], pool: Pool
) -> Callable[[], PoolProxiedConnection]:
    """Return a `connect` that tells who waits, who gets a connection and who does not."""
    pool_reference: Any = ref(pool)
    successor: Any = getattr(found, "__self__", None)
    asked, granted, forgotten, slow = state.asked, state.granted, state.forgotten, state.slow
    owner = owner_of_task if pool._dialect.is_async else owner_of_thread

    def connect() -> PoolProxiedConnection:
        try:
            at = asked()
        except Exception as error:  # noqa: BLE001  # as above
            errors.report(error)
            return connect_of(pool_reference())
        try:
            # Between looking up the method and calling it, a dispose() on another thread may have freed the pool.
            proxied: Any = connect_of(pool_reference() or successor.pools()[-1])
        except BaseException as error:
            _fail(state, at, error)
            raise
        try:
            record = proxied._connection_record
            try:
                connection = record._pool_exporter
            except AttributeError:
                connection = found(record)
            if connection.pool is state:
                wait = granted(at, connection, record.fairy_ref, owner())
                if wait >= slow.ns:
                    slow.tell(wait, None)
            else:
                forgotten(at)  # Others watch the pool now: it was closed and instrumented again meanwhile.
        except Exception as error:  # noqa: BLE001  # as in `guarded`
            errors.report(error)
            forgotten(at)
        return proxied  # type: ignore[no-any-return]  # typed Any above for its private attributes

    return connect


@guarded
def _fail(state: PoolState, at: int, error: BaseException) -> None:
    try:
        wait = state.failed(at, failure_type(error))
    except Exception:
        state.forgotten(at)
        raise
    state.slow.tell(wait, error)
