"""Finds the engine and its pool in what an application passes to `instrument()` and `check()`.

What has been passed instead of an engine is named by its class, with what was probably meant. Nothing here may call a
method of such an object or show its value: that may open a connection, raise, or contain a password.
"""

import inspect
from typing import Final

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from pool_exporter.hooks.sqlalchemy_private import engine_behind

_OTHERWISE: Final = "pass what create_engine() or create_async_engine() has returned"

_SESSION: Final = "a session uses connections of an engine: {call}(session.get_bind())"
_FACTORY: Final = "pass the engine that it was made with: {call}(engine)"
_CONNECTION: Final = "one connection is no pool: {call}(connection.engine)"
_URL: Final = "a URL is no engine: {call}(create_engine(url))"
_METADATA: Final = "tables have no pool; pass the engine with which they are used: {call}(engine)"
_SEVERAL: Final = "call it for each engine"

_MEANT: Final = {
    "sqlalchemy.Session": _SESSION,
    "sqlalchemy.AsyncSession": _SESSION,
    "sqlalchemy.scoped_session": _SESSION,
    "sqlalchemy.async_scoped_session": _SESSION,
    "sqlalchemy.sessionmaker": _FACTORY,
    "sqlalchemy.async_sessionmaker": _FACTORY,
    "sqlalchemy.Connection": _CONNECTION,
    "sqlalchemy.PoolProxiedConnection": "one connection is no pool; pass the engine that it came from: {call}(engine)",
    "sqlalchemy.URL": _URL,
    "sqlalchemy.MetaData": _METADATA,
    "sqlalchemy.registry": _METADATA,
    "flask_sqlalchemy.SQLAlchemy": "pass its engine, inside of `with app.app_context():` {call}(db.engine)",
    "flask_sqlalchemy_lite.SQLAlchemy": "pass its engine, inside of `with app.app_context():` {call}(db.engine)",
    "pool_exporter.Monitor": "that is what instrument() has returned for a pool, which is instrumented already",
    "builtins.str": _URL,
    "builtins.NoneType": "the engine has not been made yet; call it after create_engine()",
    "builtins.list": _SEVERAL,
    "builtins.tuple": _SEVERAL,
    "builtins.set": _SEVERAL,
    "builtins.dict": _SEVERAL,
    "builtins.coroutine": "it has not been awaited",
}
"""What to do instead, by package and class of what was passed, or of a class that it derives from."""


def engine_and_pool(target: object, function: str = "instrument") -> tuple[Engine | None, Pool]:
    """Return the engine and the pool of an async engine, an engine with execution options, an engine or a pool.

    Args:
        target: What the application has passed.
        function: The name of the function to which it was passed.

    Raises:
        TypeError: *target* is none of these. The message says what was probably meant.
    """
    found = getattr(target, "sync_engine", target)
    if isinstance(found, Engine):
        return engine_behind(found), found.pool
    if isinstance(found, Pool):
        return None, found
    kind = type(target).__name__
    raise TypeError(f"{function}() takes an Engine, an AsyncEngine or a Pool, not {kind}: {_meant(target, function)}")


def _meant(target: object, function: str) -> str:
    if isinstance(target, type):
        return f"that is the class {target.__name__}; {_OTHERWISE}"
    if inspect.isroutine(target):
        return f"that is the function {target.__name__}; call it: {function}({target.__name__}())"
    names = (f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(target).__mro__)
    return next((_MEANT[name] for name in names if name in _MEANT), _OTHERWISE).format(call=function)
