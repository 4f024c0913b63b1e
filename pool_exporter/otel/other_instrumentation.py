"""Replaces the pool metric of opentelemetry-instrumentation-sqlalchemy; the spans of that package stay.

That package adds and subtracts connections on the pool's events, which is slower than this package's monitoring by a
multiple, and wrong after a detach, a dispose or a fork. This module removes its listeners of pool events and keeps it
from adding more, for engines that it has instrumented and for later ones. Private names of
opentelemetry-instrumentation-sqlalchemy are used only in this module.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Final

from sqlalchemy import exc
from sqlalchemy.engine import Engine
from sqlalchemy.event import remove

_PACKAGE: Final = "opentelemetry.instrumentation.sqlalchemy"
_POOL_EVENTS: Final = {
    "checkin",
    "checkout",
    "close",
    "close_detached",
    "connect",
    "detach",
    "first_connect",
    "invalidate",
    "reset",
    "soft_invalidate",
}

_log = logging.getLogger("pool_exporter")


def take_over() -> Callable[[], None]:
    """Stop the other instrumentation from counting connections; return a function that lets it count again."""
    tracer = _tracer()
    if tracer is None:
        return _nothing
    try:
        register = tracer.__dict__["_register_event_listener"]
        listeners = tracer._remove_event_listener_params
        for entry in [entry for entry in listeners if entry[1] in _POOL_EVENTS]:
            _remove(*entry)
            listeners.remove(entry)  # Otherwise the package would fail when it is uninstrumented.
    except (AttributeError, KeyError, TypeError, ValueError):
        _log.warning(
            "this version of %s is not known: its pool metric stays, in addition to those of pool_exporter",
            _PACKAGE,
        )
        return _nothing

    def register_others(cls: Any, target: Any, event: str, *arguments: Any, **options: Any) -> None:
        if event not in _POOL_EVENTS:
            register.__func__(cls, target, event, *arguments, **options)

    tracer._register_event_listener = classmethod(register_others)

    def restore() -> None:
        tracer._register_event_listener = register

    return restore


def _tracer() -> Any:
    """Return the class that listens to each engine; None if the package is not installed or cannot be used."""
    try:
        if find_spec(_PACKAGE) is None:
            return None
        from opentelemetry.instrumentation.sqlalchemy import engine
    except ImportError:
        return None
    return getattr(engine, "EngineTracer", None)


def _remove(reference: Callable[[], Any], event: str, listener: Callable[..., None]) -> None:
    engine = reference()
    if isinstance(engine, Engine):
        collection: Any = getattr(engine.pool.dispatch, event)
        # SQLAlchemy would change the deque in place, and a thread that iterates over it would get a RuntimeError.
        collection.listeners = _CopyOnIterate(collection.listeners)
        with suppress(exc.InvalidRequestError):
            remove(engine, event, listener)
        collection.listeners = deque(collection.listeners)


class _CopyOnIterate(deque[Any]):
    """Listeners that may change during an iteration: each iteration is over a copy."""

    def __iter__(self) -> Iterator[Any]:
        return iter(tuple(super().__iter__()))


def _nothing() -> None:
    """Do nothing: there is nothing to restore."""
