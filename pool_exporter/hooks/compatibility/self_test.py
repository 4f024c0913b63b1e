"""Does with a pool of its own everything that the hooks count, and compares the numbers with what was done.

It runs once, for a SQLAlchemy that the package's CI has not run. Methods are patched only on classes of its own, so the
application's pools notice nothing. The pool opens no database, and its event dispatch is empty, so that no listener of
the application is called, not even one that listens to every pool. Nothing here raises.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import update_wrapper
from typing import Final

from sqlalchemy import exc
from sqlalchemy.pool import Pool, QueuePool

from pool_exporter.hook_errors import errors
from pool_exporter.hooks.lifecycle_patches import PATCH_FACTORIES
from pool_exporter.hooks.method_patches import Method, MethodPatch, PatchFactories, PatchSet
from pool_exporter.hooks.pool_binding import ATTRIBUTE
from pool_exporter.hooks.pool_hooks import PoolHooks
from pool_exporter.hooks.sqlalchemy_private import CREATE_RECORD, FAIRY, RECORD, limit_of, replaced_methods
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.state.decode import decode
from pool_exporter.state.locked_pool_state import pool_state

_EXPECTED: Final[dict[str, object]] = {
    "checkouts": 8,
    "uses": 8,
    "connects": 5,
    "closes": {"overflow": 1, "invalidate": 1, "detached": 1, "dispose": 1},
    "invalidations": {"hard": 1, "soft": 1},
    "failures": {"timeout": 1, "connect": 1},
    "leaked": 1,
}
"""What `_use` does."""


def failures() -> list[str]:
    """Run the test, which takes about a millisecond.

    Returns:
        What was counted wrongly or went wrong; an empty list if nothing did.
    """
    with errors.collected() as found:
        try:
            wrong = [*_Test().run()]
        except Exception as error:  # noqa: BLE001  # any error means that SQLAlchemy works in another way
            wrong = [f"pool that can be tested ({type(error).__name__}: {error})"]
    return wrong or [f"pool that the hooks can read ({type(error).__name__}: {error})" for error in found[:1]]


class _Server:
    """Stands for a database: opens connections that do nothing, and knows how many are open."""

    def __init__(self) -> None:
        self.open = 0
        self.is_down = False

    def connect(self) -> "_Connection":
        if self.is_down:
            raise ConnectionError("the self-test's server is down")
        self.open += 1
        return _Connection(self)


class _Connection:
    def __init__(self, server: _Server) -> None:
        self._server = server

    def rollback(self) -> None:
        """Do nothing, as the pool resets the connection."""

    def close(self) -> None:
        """Note that the pool has closed the connection."""
        self._server.open -= 1


class _NoListeners:
    """Stands for a pool's event dispatch: whatever is read from it or called on it is empty and does nothing."""

    def __getattr__(self, _: str) -> "_NoListeners":
        return self

    def __call__(self, *_: object, **__: object) -> "_NoListeners":
        return self

    def __bool__(self) -> bool:
        return False


class _OwnPatches(PatchSet):
    """Patches of the test's own classes; a pool's `connect` is patched from the beginning."""

    def __init__(self, *classes: type) -> None:
        super().__init__()
        methods = [(cls, name) for cls in classes for name in vars(cls) if name in PATCH_FACTORIES]
        self.of: Final = {name: MethodPatch(cls, name, PATCH_FACTORIES[name]) for cls, name in methods}

    def open(self, pool_class: type[Pool], factories: PatchFactories) -> MethodPatch:
        """Return the patch of `connect`, without patching anything."""
        return self.of["connect"]


def _derived(base: type, **own: object) -> type:
    """Return a subclass of *base* that defines every method that is patched, by calling that of *base*."""
    methods = {
        name: _calling(getattr(base, name)) for cls, name in replaced_methods(QueuePool) if issubclass(base, cls)
    }
    return type(f"SelfTest{base.__name__}", (base,), {**methods, **own, ATTRIBUTE: None})


def _calling(method: Method) -> Method:
    def call(*arguments: object, **options: object) -> object:
        return method(*arguments, **options)

    return update_wrapper(call, method)


class _Test:
    """The pool under test, and what is compared."""

    def __init__(self) -> None:
        self.server = _Server()
        record_class = _derived(RECORD, __slots__=())

        def create_record(pool: Pool) -> object:
            return record_class(pool)

        own = {"dispatch": _NoListeners(), CREATE_RECORD: create_record}
        pool_class = _derived(QueuePool, **own)
        patches = _OwnPatches(pool_class, record_class, _derived(FAIRY, __slots__=()))
        self.pool = pool_class(self.server.connect, pool_size=1, max_overflow=1, timeout=0)
        self.detach = patches.of["detach"].replacement
        self.state = pool_state(time.monotonic_ns, limit_of(self.pool))
        self.hooks = PoolHooks(self.pool, self.state, patches)
        self.hooks.install()

    def run(self) -> Iterator[str]:
        """Use the pool, and yield what is counted wrongly."""
        for step, levels in self._use():
            counted = self._snapshot()
            found = counted.used, counted.idle, counted.detached, counted.pending
            if found != (*levels, 0):
                yield f"pool with {levels} used, idle and detached connections after {step} (but {found[:3]})"
        for name, value in _totals(self._snapshot()).items():
            if value != _EXPECTED[name]:
                yield f"pool with {name} {_EXPECTED[name]} (but {value})"
        if self.server.open != 1:
            yield f"pool with 1 open connection (but {self.server.open})"

    def _snapshot(self) -> PoolSnapshot:
        # Without `refresh()`, which would mend what the patches have missed.
        return decode(self.state.copy_slots(), self.state.clock(), PoolIdentity("self-test"), PoolConfig())

    def _use(self) -> Iterator[tuple[str, tuple[int, int, int]]]:
        """Do everything, and yield after each step how many connections are used, idle and detached."""
        first, second = self.pool.connect(), self.pool.connect()
        yield "two checkouts", (2, 0, 0)
        with suppress(exc.TimeoutError):
            self.pool.connect()
        first.close()
        second.close()
        yield "their return", (0, 1, 0)
        connection = self.pool.connect()
        connection.invalidate()
        connection.close()
        yield "an invalidation", (0, 0, 0)
        connection = self.pool.connect()
        self.detach(connection)
        yield "detach()", (0, 0, 1)
        connection.close()
        yield "the close of the detached connection", (0, 0, 0)
        connection = self.pool.connect()
        connection.invalidate(soft=True)
        connection.close()
        yield "a soft invalidation", (0, 1, 0)
        yield from self._use_successor()

    def _use_successor(self) -> Iterator[tuple[str, tuple[int, int, int]]]:
        successor = self.pool.recreate()
        self.pool.dispose()
        yield "recreate() and dispose()", (0, 0, 0)
        connection = successor.connect()
        yield "a checkout from the new pool", (1, 0, 0)
        self.server.is_down = True
        with suppress(ConnectionError):
            successor.connect()
        connection.close()
        yield "its return", (0, 1, 0)
        successor.connect()  # Dropped at once.
        yield "a lost connection", (0, 1, 0)
        connection = successor.connect()
        yield "another checkout", (1, 0, 0)
        connection.close()


def _totals(pool: PoolSnapshot) -> dict[str, object]:
    return {
        "checkouts": pool.checkouts,
        "uses": pool.use_time.count,
        "connects": pool.connects,
        "closes": _occurred(pool.closes),
        "invalidations": _occurred(pool.invalidations),
        "failures": _occurred(pool.acquire_failures),
        "leaked": pool.leaked,
    }


def _occurred(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}
