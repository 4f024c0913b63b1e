"""`instrument_all()`: every pool of the process, those of engines made before and those of engines made later.

A pool that is not watched yet is met when it is first asked for a connection (acquire.py). The engine is read from the
caller on the stack: a pool does not know its engine, and `create_engine()` reads the signatures that a wrapper around
it would change. Nothing here may watch a pool itself; monitor.py does.
"""

import gc
from types import FrameType, TracebackType
from typing import Any, Final
from weakref import WeakSet

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool
from typing_extensions import Self

from pool_exporter.acquire import newcomers
from pool_exporter.doors import doors, require
from pool_exporter.guard import guarded
from pool_exporter.hooks import hooks_of
from pool_exporter.lifecycle import MAKERS
from pool_exporter.monitor import Monitor, instrument, prepared_service
from pool_exporter.registry import registry

_RAW_CONNECTION: Final = Engine.raw_connection.__code__
_SEARCH_DEPTH: Final = 4


class Everywhere:
    """What `instrument_all()` has started; a context manager, which closes it. Merely dropping it changes nothing."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._monitors: WeakSet[Monitor] = WeakSet()

    def close(self) -> None:
        """Stop watching: the pools that were met, and those that would be met. What others have begun goes on."""
        with registry.changing():
            if registry.everywhere is self:
                registry.everywhere = newcomers.meet = None
            for monitor in list(self._monitors):
                monitor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def meet(self, pool: Pool, caller: FrameType) -> None:
        """Watch a pool that nobody watches; *caller* is who asked it for a connection."""
        self._watch(_engine_of(pool, caller) or pool)

    def search(self) -> None:
        """Watch the pools that are there: engines first, by which a pool gets its name."""
        gc.collect()  # A pool that is garbage, as each dispose() leaves one, would be found as well.
        for cls, completing in ((Engine, "pool"), (Pool, "_invoke_creator")):
            # Only types are asked: a proxy object may raise when isinstance() asks it.
            for entry in gc.get_referrers(*_subclasses(cls)):
                if issubclass(type(entry), cls) and completing in vars(entry):
                    self._watch(entry)

    @guarded
    def _watch(self, target: Any) -> None:
        """Watch what nobody does; a monitor that somebody else has is theirs to close."""
        if hooks_of(target.pool if isinstance(target, Engine) else target) is None:
            self._monitors.add(instrument(target, service=self._service))


def instrument_all() -> Everywhere:
    """Watch every pool of this process, also those of engines that were made earlier or will be; twice does nothing.

    Raises SettingsError for a bad variable in the environment, UnsupportedError for a SQLAlchemy that works in another
    way.
    """
    with registry.changing():
        if isinstance(registry.everywhere, Everywhere):
            return registry.everywhere
        require()
        current = registry.everywhere = Everywhere(prepared_service())
        newcomers.meet = current.meet
        doors.open(Pool, MAKERS)
        current.search()
        return current


def _subclasses(cls: type) -> set[type]:
    """Return the class and all that derive from it; an object refers to its class, and is found by that."""
    found: list[type] = type.__subclasses__(cls)
    return {cls}.union(*map(_subclasses, found))


def _engine_of(pool: Pool, caller: FrameType | None) -> Engine | None:
    """Return the engine that asks its pool, through a wrapper or two perhaps; None if nobody near is one."""
    for _ in range(_SEARCH_DEPTH):
        if caller is None:
            break
        if caller.f_code is _RAW_CONNECTION:
            # Asking any other frame for its locals would keep them alive as long as that frame runs.
            engine: Engine = caller.f_locals["self"]
            return engine if engine.pool is pool else None
        caller = caller.f_back
    return None
