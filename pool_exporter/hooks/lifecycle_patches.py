"""What happens to a pooled connection besides its checkouts: it is opened, invalidated, detached and closed.

Each replacement here tells the hooks of the pool at hand, before or after the method that it stands for, as its
docstring says, and changes nothing about it. Nothing here may count or decide what an occurrence means; hooks.py does.
"""

import sys
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy.engine import Engine
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from pool_exporter.hook_errors import errors
from pool_exporter.hooks.checkout_patches import PoolBinding, patched_connect, patched_return
from pool_exporter.hooks.method_patches import ATTRIBUTE, CLOSE, CONNECT, MethodPatch, PatchFactories
from pool_exporter.hooks.sqlalchemy_private import pool_of

_DISPOSE: Final = Engine.dispose.__code__


def _binding_of(pool: Pool, patch: MethodPatch) -> PoolBinding | None:
    return None if patch.is_shadowed else getattr(pool, ATTRIBUTE, None)


def _now(binding: PoolBinding) -> int | None:
    try:
        return binding.state.clock()
    except Exception as error:  # noqa: BLE001  # as in `guarded`, which returns nothing
        errors.report(error)
        return None


def patched_open(open_of: Callable[[Any], None], patch: MethodPatch) -> Callable[[ConnectionPoolEntry], None]:
    """Return a record's `__connect` that is timed; a connection counts when all listeners have set it up."""

    def __connect(record: ConnectionPoolEntry) -> None:
        binding = _binding_of(pool_of(record), patch)
        if binding is None:
            open_of(record)
            return
        began = _now(binding)
        open_of(record)
        binding.hooks.opened(record, began)

    return __connect


def patched_close(close_of: Callable[..., None], patch: MethodPatch) -> Callable[..., None]:
    """Return a record's `__close` that counts the connection as open until it is closed: a server may hang."""

    def __close(record: ConnectionPoolEntry, **how: Any) -> None:
        binding = _binding_of(pool_of(record), patch)
        if binding is None:
            close_of(record, **how)
            return
        binding.hooks.closing(record)
        try:
            close_of(record, **how)
        finally:
            binding.hooks.closed(record)

    return __close


def patched_invalidate(invalidate_of: Callable[..., None], patch: MethodPatch) -> Callable[..., None]:
    """Return a record's `invalidate` that tells before it closes, and why."""

    def invalidate(
        record: ConnectionPoolEntry,
        e: BaseException | None = None,
        soft: bool = False,  # noqa: FBT001, FBT002  # as SQLAlchemy has it
    ) -> None:
        binding = _binding_of(pool_of(record), patch)
        if binding is not None and record.dbapi_connection is not None:
            binding.hooks.invalidated(record, e, is_soft=soft)
        invalidate_of(record, e, soft)

    return invalidate


def patched_detach(detach_of: Callable[[Any], None], patch: MethodPatch) -> Callable[[Any], None]:
    """Return a `detach` that tells before the record is back, where the next caller may get it."""

    def detach(proxied: Any) -> None:
        binding = _binding_of(proxied._pool, patch)
        if binding is not None and proxied._connection_record is not None:
            binding.hooks.detaching(proxied._connection_record, proxied)
        detach_of(proxied)

    return detach


def patched_close_connection(close_of: Callable[..., None], patch: MethodPatch) -> Callable[..., None]:
    """Return a pool's `_close_connection` that tells afterwards; a record's connections pass here too."""

    def _close_connection(pool: Pool, connection: Any, **how: Any) -> None:
        try:
            close_of(pool, connection, **how)
        finally:
            binding = _binding_of(pool, patch)
            if binding is not None:
                binding.hooks.detached_closed(connection)

    return _close_connection


def patched_recreate(recreate_of: Callable[[Any], Pool], patch: MethodPatch) -> Callable[[Any], Pool]:
    """Return a `recreate` that has the new pool watched before anybody has it.

    What `Engine.dispose()` asks for, it puts in the pool's place at once; anybody else may throw it away.
    """

    def recreate(pool: Pool) -> Pool:
        successor = recreate_of(pool)
        binding = _binding_of(pool, patch)
        if binding is not None:
            binding.hooks.pool_recreated(successor, at_once=sys._getframe(1).f_code is _DISPOSE)
        return successor

    return recreate


PATCH_FACTORIES: Final[PatchFactories] = {
    "connect": patched_connect,
    "_return_conn": patched_return,
    "recreate": patched_recreate,
    "_close_connection": patched_close_connection,
    CONNECT: patched_open,
    CLOSE: patched_close,
    "invalidate": patched_invalidate,
    "detach": patched_detach,
}
"""All replacements, by the name of what they stand for."""
