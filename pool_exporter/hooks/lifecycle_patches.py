"""The other methods in a connection's life: it is opened, invalidated, detached and closed, and its pool recreated.

Each replacement passes its arguments on, and reports to the pool's hooks before or after the original, as its docstring
says. It reads SQLAlchemy's objects only inside a guard. Nothing here may count or decide what an event means;
`pool_hooks` does.
"""

import sys
from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy.pool import Pool

from pool_exporter.hook_errors import errors
from pool_exporter.hooks.checkout_patches import (
    InstancePatch,
    patch_instance_connect,
    patched_connect,
    patched_return,
)
from pool_exporter.hooks.method_patches import Method, PatchFactories, PatchSet
from pool_exporter.hooks.pool_binding import ATTRIBUTE, Patch, PoolBinding, Proxied, Record, binding_of
from pool_exporter.hooks.sqlalchemy_private import CLOSE, OPEN, pool_of, pool_of_proxied

Carrier = TypeVar("Carrier")


def _binding_behind(carrier: Carrier, pool_of: Callable[[Carrier], Pool], patch: Patch) -> PoolBinding | None:
    """Return the binding of the pool behind *carrier*; None if it has none, or if the patch must count nothing."""
    try:
        return None if patch.is_shadowed else getattr(pool_of(carrier), ATTRIBUTE, None)
    except Exception as error:  # noqa: BLE001  # as in `guarded`, which returns nothing
        errors.report(error)
        return None


def _now(binding: PoolBinding) -> int | None:
    try:
        return binding.state.clock()
    except Exception as error:  # noqa: BLE001  # as in `guarded`, which returns nothing
        errors.report(error)
        return None


def patched_open(open_of: Method, patch: Patch) -> Method:
    """Return a record's `__connect` that reports afterwards: a connection counts once all listeners have set it up."""

    def __connect(record: Record, *arguments: object, **options: object) -> object:
        binding = _binding_behind(record, pool_of, patch)
        if binding is None:
            return open_of(record, *arguments, **options)
        began = _now(binding)
        try:
            binding.hooks.opening(record)
            result: object = open_of(record, *arguments, **options)
        except BaseException as error:
            binding.hooks.not_opened(record, error)
            raise
        binding.hooks.opened(record, began)
        return result

    return __connect


def patched_close(close_of: Method, patch: Patch) -> Method:
    """Return a record's `__close` that reports before and after: the server may take long to answer the close."""

    def __close(record: Record, *arguments: object, **options: object) -> object:
        binding = _binding_behind(record, pool_of, patch)
        if binding is None:
            return close_of(record, *arguments, **options)
        try:
            binding.hooks.closing(record)
        except BaseException:
            binding.hooks.not_closed(record)
            raise
        try:
            return close_of(record, *arguments, **options)
        finally:
            binding.hooks.closed(record)

    return __close


def patched_invalidate(invalidate_of: Method, patch: Patch) -> Method:
    """Return a record's `invalidate` that reports before the connection is closed, with the error that caused it."""

    def invalidate(record: Record, *arguments: object, **options: object) -> object:
        binding = _binding_behind(record, pool_of, patch)
        if binding is not None:
            binding.hooks.invalidated(record, *arguments, **options)
        return invalidate_of(record, *arguments, **options)

    return invalidate


def patched_detach(detach_of: Method, patch: Patch) -> Method:
    """Return a `detach` that reports before the record is back, where the next caller may get it."""

    def detach(proxied: Proxied, *arguments: object, **options: object) -> object:
        binding = _binding_behind(proxied, pool_of_proxied, patch)
        try:
            if binding is not None:
                binding.hooks.detaching(proxied)
        finally:  # After an interrupt, too: it counts as detached.
            result = detach_of(proxied, *arguments, **options)
        return result

    return detach


def patched_close_connection(close_of: Method, patch: Patch) -> Method:
    """Return a pool's `_close_connection` that reports afterwards; connections of records pass here too."""

    def _close_connection(pool: Pool, connection: object, *arguments: object, **options: object) -> object:
        try:
            return close_of(pool, connection, *arguments, **options)
        finally:
            binding = _binding_behind(pool, lambda pool: pool, patch)
            if binding is not None:
                binding.hooks.detached_closed(connection)

    return _close_connection


def patched_recreate(recreate_of: Method, patch: Patch) -> Method:
    """Return a `recreate` that has the new pool instrumented before anything else can use it.

    `Engine.dispose()` puts the new pool in the old one's place at once; any other caller may drop it.
    """

    def recreate(pool: Pool, *arguments: object, **options: object) -> Pool:
        successor: Pool = recreate_of(pool, *arguments, **options)
        binding = _binding_behind(pool, lambda pool: pool, patch)
        if binding is not None:
            binding.hooks.pool_recreated(successor, sys._getframe(1))
        return successor

    return recreate


PATCH_FACTORIES: Final[PatchFactories] = {
    "connect": patched_connect,
    "_return_conn": patched_return,
    "recreate": patched_recreate,
    "_close_connection": patched_close_connection,
    OPEN: patched_open,
    CLOSE: patched_close,
    "invalidate": patched_invalidate,
    "detach": patched_detach,
}
"""The factories of all replacements, by the name of the method that each replaces."""


def mend_patches(pool: Pool, patch_set: PatchSet) -> None:
    """Replace again the methods that another library has put back, on SQLAlchemy's classes or on the pool itself."""
    patch_set.mend()
    binding = binding_of(pool)
    if binding is not None and isinstance(binding.patch, InstancePatch) and binding.patch.is_dropped(pool):
        binding.patch = patch_set.open(type(pool), PATCH_FACTORIES)
        patch_instance_connect(pool, binding)
