"""Every private name of SQLAlchemy that the package relies on, and `verify()`, which lists what does not fit.

Rules: other modules use private names of SQLAlchemy only in `pool_binding`'s protocols and as names of replaced methods
(`PARAMETERS`), which `verify()` checks too; in `otel.other_instrumentation` and `private_settings`; and of functions on
a stack. No missing name makes the import of this module fail. Nothing here may change a pool or a record.
"""

import gc
import inspect
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter, methodcaller
from typing import TYPE_CHECKING, Final, cast
from weakref import finalize, ref

from sqlalchemy import exc
from sqlalchemy.engine import Engine
from sqlalchemy.pool import (
    AssertionPool,
    ConnectionPoolEntry,
    NullPool,
    Pool,
    PoolProxiedConnection,
    QueuePool,
    SingletonThreadPool,
)

from pool_exporter.state.pool_slots import UNLIMITED

if TYPE_CHECKING:
    from pool_exporter.hooks.pool_binding import Proxied, Record

_BASE: Final = sys.modules[Pool.__module__]
RECORD: Final[type[ConnectionPoolEntry]] = getattr(_BASE, "_ConnectionRecord", ConnectionPoolEntry)
FAIRY: Final[type[PoolProxiedConnection]] = getattr(_BASE, "_ConnectionFairy", PoolProxiedConnection)
"""SQLAlchemy's connection record, and what it hands out as a pooled connection."""

_USED: "Final[dict[object, Record] | None]" = getattr(_BASE, "_strong_ref_connection_records", None)
_FINALIZE: Final = getattr(_BASE, "_finalize_fairy", None)
"""Where SQLAlchemy 2.0 keeps records that are checked out, and the function of the finalizers of 2.1."""
OPEN: Final = "_ConnectionRecord__connect"
CLOSE: Final = "_ConnectionRecord__close"
CREATE_RECORD: Final = "_create_connection"
"""Two private methods of the record, under the names that the compiler gives them; and the pool's that makes one."""

PARAMETERS: Final = {
    "connect": ("self",),
    "_return_conn": ("self", "record"),
    "recreate": ("self",),
    "_close_connection": ("self", "connection"),
    OPEN: ("self",),
    CLOSE: ("self",),
    "invalidate": ("self", "e", "soft"),
    "detach": ("self",),
}
"""The methods that are replaced, and the parameters that their replacements know; each may have more after these."""
_DEFINED_ONCE: Final = (
    (Pool, "connect"),
    (SingletonThreadPool, "connect"),
    (Pool, "_close_connection"),
    (RECORD, OPEN),
    (RECORD, CLOSE),
    (RECORD, "invalidate"),
    (FAIRY, "detach"),
)
_OVERRIDDEN: Final = ("_return_conn", "recreate")
"""Each pool class may define these itself, and may call its parent's; a call through several of them counts once."""

CLOSERS: Final = {"_do_return_conn": "overflow", "_cleanup": "overflow", "dispose": "dispose"}
"""Methods of a pool, whichever class defines them, from which a record is closed, and the close reason of each."""

_ON_CLASSES: Final = (
    (FAIRY, "_connection_record"),
    (FAIRY, "_pool"),
    (FAIRY, "dbapi_connection"),
    (RECORD, "get_connection"),
    (Pool, CREATE_RECORD),
    (QueuePool, "_do_return_conn"),
    (SingletonThreadPool, "_cleanup"),
    (Engine, "dispose"),
    (Engine, "raw_connection"),
    (exc, "InvalidatePoolError"),
)
"""What is read from a pooled connection, and the methods that are recognized on the stack."""

_VALUES_OF_A_POOL: Final[dict[str, object]] = {
    "_dialect.has_terminate": False,
    "_dialect.is_async": False,
    "_invalidate_time": 0,
    "_max_overflow": 2,
    "_pool.use_lifo": False,
    "_pre_ping": False,
    "_recycle": -1,
    "_reset_on_return.name": "reset_rollback",
}
_RESULTS_OF_A_POOL: Final[dict[str, object]] = {"checkedin": 0, "checkedout": 0, "size": 1, "timeout": 3}
_VALUES_OF_A_RECORD: Final = {"dbapi_connection": None, "driver_connection": None, "fairy_ref": None, "starttime": 0}
"""What `QueuePool(…, pool_size=1, max_overflow=2, timeout=3)` and a record without a connection must answer."""


# What is replaced.


def definer(cls: type, name: str) -> type:
    """Return the class in the MRO of *cls* that defines the method *name*; *cls* itself if none does."""
    return next((each for each in cls.__mro__ if name in vars(each)), cls)


def replaced_methods(pool_class: type[Pool]) -> Iterator[tuple[type, str]]:
    """Yield the class and the name of every method that is replaced for pools of *pool_class*."""
    yield from ((definer(cls, name), name) for cls, name in _DEFINED_ONCE)
    yield definer(pool_class, "connect"), "connect"
    for cls in pool_class.__mro__:
        yield from ((cls, name) for name in _OVERRIDDEN if name in vars(cls))


def is_known_signature(name: str, method: Callable[..., object]) -> bool:
    """Return whether *method* takes exactly the parameters that `PARAMETERS` has for *name*."""
    plain = [each.name for each in _parameters(method) if each.kind is each.POSITIONAL_OR_KEYWORD]
    return tuple(plain) == PARAMETERS[name] and len(plain) == len(_parameters(method))


def _parameters(method: Callable[..., object]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(method).parameters.values())
    except (TypeError, ValueError):
        return [inspect.Parameter("arguments", inspect.Parameter.VAR_POSITIONAL)]


# Whether the installed SQLAlchemy fits.


def verify() -> list[str]:
    """Check every name, parameter and value of SQLAlchemy that the package relies on.

    Nothing is connected, patched or listened to.

    Returns:
        What is missing or different, as a reader of SQLAlchemy's source knows it; an empty list if everything fits.
    """
    try:
        return [*_wrong_methods(), *_missing_on_classes(), *_wrong_on_objects()]
    except Exception as error:  # noqa: BLE001  # any error means that SQLAlchemy works in another way
        return [f"pool that can be examined ({type(error).__name__}: {error})"]


def _wrong_methods() -> Iterator[str]:
    for cls, name in (*_DEFINED_ONCE, *((Pool, name) for name in _OVERRIDDEN)):
        if not callable(getattr(cls, name, None)) or not _takes(name, vars(definer(cls, name))[name]):
            yield f"{cls.__name__}.{name}({', '.join(PARAMETERS[name])})"


def _takes(name: str, method: Callable[..., object]) -> bool:
    """Return whether the first parameters are the known ones, or hidden by a wrapper that takes anything."""
    leading = _parameters(method)[: len(PARAMETERS[name])]
    is_hidden = any(each.kind is each.VAR_POSITIONAL for each in leading)
    return is_hidden or tuple(each.name for each in leading) == PARAMETERS[name]


def _missing_on_classes() -> Iterator[str]:
    yield from (f"{owner.__name__}.{name}" for owner, name in _ON_CLASSES if not hasattr(owner, name))


def _wrong_on_objects() -> Iterator[str]:
    # A dialect of its own: pools that are given none share one object, which the application may have changed.
    dialect = type(QueuePool._dialect)()
    pool = QueuePool(lambda: None, pool_size=1, max_overflow=2, timeout=3, dialect=dialect)  # type: ignore[arg-type]  # nothing is connected
    record = RECORD(pool, connect=False)  # type: ignore[call-arg]  # as `_ConnectionRecord` takes it
    for name, expected in _VALUES_OF_A_POOL.items():
        yield from _wrong(f"QueuePool.{name}", partial(attrgetter(name), pool), expected)
    for name, expected in _RESULTS_OF_A_POOL.items():
        yield from _wrong(f"QueuePool.{name}()", partial(methodcaller(name), pool), expected)
    for name, expected in _VALUES_OF_A_RECORD.items():
        yield from _wrong(f"_ConnectionRecord.{name}", partial(attrgetter(name), record), expected)
    first_run = partial(attrgetter("_exec_w_sync_once"), pool.dispatch.connect.for_modify(pool.dispatch))
    yield from _wrong("Pool.dispatch.connect._exec_w_sync_once", first_run, expected=False)
    yield from _wrong("QueuePool._pool.queue", lambda: has_back(pool, record), expected=False)  # type: ignore[arg-type]  # SQLAlchemy's own class of records
    yield from _wrong("_ConnectionRecord.__pool", lambda: pool_of(record), pool)
    yield from _wrong("_ConnectionRecord.__dict__ and __weakref__", lambda: [vars(record), ref(record)()], [{}, record])
    yield from _wrong("Pool.__dict__ and _invoke_creator", lambda: [is_complete(pool), ref(pool)()], [True, pool])


def _wrong(name: str, read: Callable[[], object], expected: object) -> Iterator[str]:
    try:
        is_right = read() == expected
    except (AttributeError, TypeError):
        is_right = False
    if not is_right:
        yield name


# What is read.


def pool_of(record: "Record | ConnectionPoolEntry") -> Pool:
    """Return the pool that the record belongs to."""
    return record._ConnectionRecord__pool  # type: ignore[union-attr,no-any-return]  # name-mangled


def pool_of_proxied(proxied: "Proxied") -> Pool:
    """Return the pool that handed out *proxied*."""
    return proxied._pool


def record_of(proxied: "Proxied") -> "Record | None":
    """Return the connection record behind *proxied*; None once it is detached or returned."""
    return proxied._connection_record


def is_async(pool: Pool) -> bool:
    """Return whether an asyncio driver opens the pool's connections."""
    return pool._dialect.is_async


def has_terminate(pool: Pool) -> bool:
    """Return whether the pool's asyncio driver can close a connection without awaiting."""
    return pool._dialect.has_terminate


def dialect_name(pool: Pool) -> str:
    """Return the name of the pool's dialect; "" for a pool that no engine has made."""
    return str(getattr(getattr(pool, "_dialect", None), "name", ""))


def is_complete(entry: object) -> bool:
    """Return whether the constructor of *entry*, an engine or a pool, has finished."""
    return ("pool" if issubclass(type(entry), Engine) else "_invoke_creator") in vars(entry)


def has_connected(pool: Pool) -> bool:
    """Return whether the pool may have open connections: it has opened one, and does not say that it has none."""
    if not getattr(pool.dispatch.connect, "_exec_w_sync_once", False):
        return False
    return not isinstance(pool, QueuePool) or pool.checkedin() != 0 or pool.checkedout() != 0


def records_in_use(pool: Pool) -> "list[Record]":
    """Return the records that are checked out, those of other pools too.

    SQLAlchemy 2.0 has a dictionary of them, 2.1 has them in finalizers. For a later version that has neither, the
    garbage collector searches for what refers to *pool*, which takes long where there are many objects.
    """
    if _USED is not None:
        return list(_USED.values())
    if hasattr(FAIRY, "_finalizer") and hasattr(finalize, "_registry"):
        calls = [call.args for call in list(finalize._registry.values()) if call.func is _FINALIZE]
        return cast("list[Record]", [each for arguments in calls for each in arguments if type(each) is RECORD])
    return cast("list[Record]", [entry for entry in gc.get_referrers(pool) if type(entry) is RECORD])


def has_back(pool: Pool, record: "Record") -> bool:
    """Return whether the pool has the record, which is not checked out any more, in its place again."""
    if not isinstance(pool, QueuePool):
        return not isinstance(pool, NullPool)  # It closes what is returned: that ends the use.
    queue: object = getattr(pool._pool, "_queue", pool._pool)  # The adapted one of asyncio, or the pool's own.
    return record in getattr(queue, "queue", getattr(queue, "_queue", (record,)))


def engine_behind(engine: Engine) -> Engine:
    """Return the engine that owns the pool: `execution_options()` makes copies that delegate to it."""
    while hasattr(engine, "_proxied"):
        engine = engine._proxied
    return engine


def outdated_reason(record: "Record") -> str:
    """Return the close reason of a record that `get_connection` reconnects, by the same tests in the same order."""
    pool = pool_of(record)
    if pool._recycle > -1 and time.time() - record.starttime > pool._recycle:
        return "recycle"
    return "pool_invalidate" if pool._invalidate_time > record.starttime else "soft_invalidate"


def is_failed_ping(record: "Record", error: object) -> bool:
    """Return whether the record is invalidated with *error* because its pre-ping failed."""
    return pool_of(record)._pre_ping and isinstance(error, exc.InvalidatePoolError)


def limit_of(pool: Pool) -> int:
    """Return how many connections the pool gives out at once before a caller has to wait or fails."""
    if isinstance(pool, QueuePool):
        return pool.size() + pool._max_overflow if pool.size() and pool._max_overflow >= 0 else UNLIMITED
    return 1 if isinstance(pool, AssertionPool) else UNLIMITED


def settings_of(pool: Pool) -> Iterator[tuple[str, object]]:
    """Yield the labels `pool_metrics.INFO_LABELS` with their values, in their order; None where the pool has none."""
    queue = pool if isinstance(pool, QueuePool) else None
    yield "pool_class", type(pool).__name__
    yield "dialect", getattr(pool._dialect, "name", None)
    yield "driver", getattr(pool._dialect, "driver", None)
    yield "pool_size", getattr(pool, "size", None) if queue is None else queue.size()
    yield "max_overflow", None if queue is None else queue._max_overflow
    yield "timeout_seconds", None if queue is None or queue.timeout() is None else float(queue.timeout())
    yield "recycle_seconds", pool._recycle
    yield "pre_ping", pool._pre_ping
    yield "lifo", None if queue is None else queue._pool.use_lifo
    yield "reset_on_return", str(getattr(pool._reset_on_return, "name", "")).removeprefix("reset_")
