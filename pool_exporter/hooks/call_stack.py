"""Finds out from the call stack why a record is closed, where an acquire failed, and which engine called its pool.

SQLAlchemy's functions are recognized by their module and name, not by the function that their class has now: other
libraries may have replaced that by a wrapper, or several by copies of one wrapper. Nothing here may keep a frame.
"""

import sys
from traceback import walk_tb
from types import FrameType, TracebackType
from typing import Final

from sqlalchemy import exc
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool, Pool

from pool_exporter.hooks.pool_binding import Record
from pool_exporter.hooks.sqlalchemy_private import CLOSERS, OPEN, RECORD, definer, outdated_reason, pool_of

_CLOSER_DEPTH: Final = 16
_ENGINE_DEPTH: Final = 4


def _function(cls: type, name: str, name_in_source: str = "") -> tuple[str, str]:
    return definer(cls, name).__module__, name_in_source or name


_DISPOSE: Final = _function(Engine, "dispose")
_GET_CONNECTION: Final = _function(RECORD, "get_connection")
_INVALIDATE: Final = _function(RECORD, "invalidate")
_OPEN: Final = _function(RECORD, OPEN, "__connect")

_SQLALCHEMY: Final = "sqlalchemy."
_EVENTS: Final = "sqlalchemy.event."
_HELPERS: Final = "sqlalchemy.util."
"""Modules between the opening of a connection and a listener of `connect`; SQLAlchemy's own listeners are in others."""

_RAW_CONNECTION: Final = _function(Engine, "raw_connection")


def _runs(frame: FrameType, function: tuple[str, str]) -> bool:
    module, name = function
    return frame.f_code.co_name == name and frame.f_globals.get("__name__") == module


def close_reason(record: Record, reason: str) -> str:
    """Find out why the record is being closed.

    Only the callers differ: a connection over the limit is closed by its return, an outdated one by its next checkout.
    The arguments of the `close` event and the times of the record are the same in both cases.

    Args:
        record: The record; its close is under way on this thread.
        reason: The reason that an invalidation has left, or "".

    Returns:
        One of `CLOSE_REASONS`.
    """
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_CLOSER_DEPTH):
        if frame is None:
            break
        if _runs(frame, _INVALIDATE):
            return reason or "invalidate"
        if _runs(frame, _GET_CONNECTION):
            return outdated_reason(record)
        if frame.f_code.co_name in CLOSERS and frame.f_locals.get("self") is pool_of(record):
            found = CLOSERS[frame.f_code.co_name]
            return "not_pooled" if found == "overflow" and isinstance(pool_of(record), NullPool) else found
        frame = frame.f_back
    return "discarded"


def invalidation_reason(error: object) -> str:
    """Return the close reason of a connection that is invalidated with *error*.

    A task or thread that is cancelled in the middle of a query, because its client has gone or its time is up, leaves
    a connection with an unread answer. That connection is not broken, so it has a close reason of its own.
    """
    is_interrupt = isinstance(error, BaseException) and not isinstance(error, Exception)
    return "cancelled" if is_interrupt else "invalidate"


def failure_type(error: BaseException) -> str:
    """Return what ended an acquire that raised *error*, as one of `ERROR_TYPES`."""
    if isinstance(error, exc.TimeoutError):
        return "timeout"
    if not isinstance(error, Exception):
        return "cancelled"
    return "connect" if _is_of_server(error.__traceback__) else "other"


def _is_of_server(traceback: TracebackType | None) -> bool:
    """Return whether the error passed the opening of a connection, and comes from no listener of the application."""
    frames = [frame for frame, _ in walk_tb(traceback)]
    opening = [i for i, frame in enumerate(frames) if _runs(frame, _OPEN)]
    if not opening:
        return False
    below = [_module(frame) for frame in frames[opening[-1] + 1 :]]  # A frame that raises again is there twice.
    if not below or not below[0].startswith(_EVENTS):
        return True
    # SQLAlchemy's own listeners set up the dialect, and query the server for that.
    listener = next((module for module in below if not module.startswith((_EVENTS, _HELPERS))), "")
    return listener.startswith(_SQLALCHEMY)


def _module(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__')}."


def is_dispose(caller: FrameType) -> bool:
    """Return whether *caller* is `Engine.dispose()`, which puts the pool that it gets to use at once."""
    return _runs(caller, _DISPOSE)


def engine_calling(pool: Pool, caller: FrameType | None) -> Engine | None:
    """Return the engine that called `pool.connect()`, directly or through a few wrappers; None if none did."""
    for _ in range(_ENGINE_DEPTH):
        if caller is None:
            break
        if _runs(caller, _RAW_CONNECTION):
            # Reading f_locals of any other frame would keep its locals alive for as long as that frame runs.
            engine = caller.f_locals.get("self")
            return engine if isinstance(engine, Engine) and engine.pool is pool else None
        caller = caller.f_back
    return None
