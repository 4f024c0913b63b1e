"""Taking the pool metric over from opentelemetry-instrumentation-sqlalchemy, whose spans stay.

It counts connections by plus and minus on the pool's events, at many times the cost of all of ours, and is wrong after
a detach, a dispose, a fork. Here its listeners of the pool's events are removed, and it is kept from adding more,
whether it has instrumented engines already or begins to later. Its private names stand here and nowhere else.
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
    """Keep the other instrumentation from counting connections; return what lets it do so with engines to come."""
    tracer = _tracer()
    if tracer is None:
        return _nothing
    try:
        register = tracer.__dict__["_register_event_listener"]
        listeners = tracer._remove_event_listener_params
        for entry in [entry for entry in listeners if entry[1] in _POOL_EVENTS]:
            _remove(*entry)
            listeners.remove(entry)  # Otherwise it would fail at its own end.
    except (AttributeError, KeyError, TypeError, ValueError):
        _log.warning("this version of %s is not known: its pool metric is reported beside ours", _PACKAGE)
        return _nothing

    def register_others(cls: Any, target: Any, event: str, *arguments: Any, **options: Any) -> None:
        if event not in _POOL_EVENTS:
            register.__func__(cls, target, event, *arguments, **options)

    tracer._register_event_listener = classmethod(register_others)

    def give_back() -> None:
        tracer._register_event_listener = register

    return give_back


def _tracer() -> Any:
    """Return the class that listens for each engine, None where the package is not installed or cannot be used."""
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
        # SQLAlchemy would change the deque in place, and a thread that is running through it would get a RuntimeError.
        collection.listeners = _Steady(collection.listeners)
        with suppress(exc.InvalidRequestError):
            remove(engine, event, listener)
        collection.listeners = deque(collection.listeners)


class _Steady(deque[Any]):
    """Listeners that may change while they are run through: each run keeps those that it began with."""

    def __iter__(self) -> Iterator[Any]:
        return iter(tuple(super().__iter__()))


def _nothing() -> None:
    """Give nothing back."""
