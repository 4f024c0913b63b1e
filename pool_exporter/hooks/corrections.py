"""Corrects the state of connections from SQLAlchemy's records, where no event has reported what happened.

Each correction reads and writes under the state's lock, which only free-threaded builds, and Python code on CPython
3.10, have. Elsewhere another thread may run in between: then the transition finds that its arguments are out of date,
and does nothing. Nothing here may count: `state.pool_state` does.
"""

from pool_exporter.hooks.callers.place import recorder
from pool_exporter.hooks.checkout_owner import name_of
from pool_exporter.hooks.orphans import is_orphan
from pool_exporter.hooks.pool_binding import ATTRIBUTE, Record
from pool_exporter.hooks.sqlalchemy_private import has_back, pool_of
from pool_exporter.state.checkout_details import write_owner
from pool_exporter.state.connection import Connection, Reference
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.report_hooks import Orphan


def catch_up(state: PoolState, connection: Connection, checkout: Reference, since: int) -> None:
    """Note the use of a connection that a caller began to acquire before the pool was instrumented.

    Args:
        state: The pool's state.
        connection: The connection.
        checkout: The record's reference to what it is checked out as; None if it is not.
        since: When the connection's last known use began, read before *checkout*.
    """
    if connection.is_idle and checkout is not None and checkout() is not None:
        state.acquired(None, connection, checkout, since=since)


def correct(state: PoolState, connection: Connection, record: Record, *, is_closing: bool) -> None:
    """Note a use that no event began, or end one that no event ended, as when an interrupt hid its end.

    Args:
        state: The pool's state.
        connection: The connection.
        record: Its record.
        is_closing: Whether the connection is being closed: its place in the pool is free only after that.
    """
    with state.lock:
        since, checkout, current = connection.since, connection.checkout, record.fairy_ref
        if connection.is_used:
            if current is None and not is_closing and has_back(pool_of(record), record):
                state.returned(connection, checkout)
        elif not state.pending:
            # While a caller is pending, it may have this record already and wait for its ping.
            catch_up(state, connection, current, since)


def records_closed_unseen(connections: list[Connection]) -> list[Record]:
    """Return the records of those *connections* that were closed while an interrupt hid the close."""
    records = [(connection, connection.record()) for connection in connections]
    tracked = [record for connection, record in records if getattr(record, ATTRIBUTE, None) is connection]
    return [record for record in tracked if record.dbapi_connection is None]


def find_orphans(state: PoolState, used: list[Connection]) -> list[Orphan]:
    """Write the names of the owners, and return those of the *used* connections that are orphans."""
    orphans, now = list[Orphan](), state.clock() - state.origin
    for connection in used:
        since, owner = connection.since, connection.owner
        if owner is None:
            continue
        name, is_lost = name_of(owner) or connection.owner_name, is_orphan(connection)
        with state.lock:
            if connection.is_used and connection.since == since:
                write_owner(state.slots, connection.slot, name)
                if is_lost:
                    use = id(connection), since
                    orphans.append(Orphan(name, connection.unit, connection.place, now - since, use))
    if orphans:
        recorder.arm()
    recorder.disarm_if_over()
    return orphans


def is_abandoned(connection: Connection) -> bool:
    """Return whether a detached connection was dropped without an event, as when its last rollback fails."""
    proxied = None if connection.checkout is None else connection.checkout()
    return proxied is not None and proxied.dbapi_connection is None
