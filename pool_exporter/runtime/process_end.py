"""Calls a function when a process ends in order without running `atexit`.

A child of `multiprocessing` or `billiard` does so (by `os._exit`), a Celery worker process, and a process that sends a
signal to itself after an orderly shutdown, as uvicorn does. Only modules that the application has imported are used;
none is imported here. Nothing here may know pools or files.
"""

import signal
import sys
from collections.abc import Callable
from functools import update_wrapper
from types import ModuleType
from typing import Final, Protocol, TypeAlias

_LAST: Final = -1000
"""The priority of the finalizer: others may use the pools, and run before it."""

_SIGNALS: Final = frozenset(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT") if hasattr(signal, name)
)


class _Finalizer(Protocol):
    """A `Finalize` of `multiprocessing.util` or `billiard.util`."""

    def cancel(self) -> None:
        """Forget it."""


_RaiseSignal: TypeAlias = Callable[[int], None]


class ProcessEnd:
    """Calls `end` when the process ends in order; more than once if there are several signs of it.

    After `unregister()` a receiver of Celery's signal and a hook for children of `multiprocessing` are left, which do
    nothing: the hook cannot be removed, and a lock of Celery may not be taken in a finalizer.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._is_registered = False
        self._known: dict[str, ModuleType] = {}
        self._finalizers: list[_Finalizer] = []
        #: The replacement of `signal.raise_signal` and the original; None where the original is in its place.
        self._replaced: tuple[_RaiseSignal, _RaiseSignal] | None = None

    def register(self) -> None:
        """Register with the modules that are imported; call it again in a forked child, which may have more of them."""
        for name in ("multiprocessing.util", "billiard.util"):
            util = self._new(name)
            if util is not None:
                util.register_after_fork(self, lambda end, util=util: end.finalize_with(util))  # Runs in each child.
                self.finalize_with(util)
        signals = self._new("celery.signals")
        if signals is not None:
            signals.worker_process_shutdown.connect(self._on_celery_shutdown, weak=False)
        if not self._is_registered:
            self._is_registered = True
            for name, module in self._known.items():
                if name.endswith(".util"):
                    self.finalize_with(module)
        if self._replaced is None:
            self._replace_raise_signal()

    def unregister(self) -> None:
        """Take back what `register()` has done. It takes no lock and may be called in a garbage collection."""
        self._is_registered = False
        for finalizer in self._finalizers:
            finalizer.cancel()
        self._finalizers.clear()
        # If another library has replaced it too, the replacement stays below that one, and calls the original.
        if self._replaced is not None and signal.raise_signal is self._replaced[0]:
            signal.raise_signal, self._replaced = self._replaced[1], None

    def finalize_with(self, util: ModuleType) -> None:
        """Register with `multiprocessing.util` or `billiard.util`: a child forgets its parent's finalizers."""
        if self._is_registered:
            self._finalizers.append(util.Finalize(None, self._end, exitpriority=_LAST))

    def _new(self, name: str) -> ModuleType | None:
        module = sys.modules.get(name)
        if module is None or name in self._known:
            return None
        self._known[name] = module
        return module

    def _on_celery_shutdown(self, **_: object) -> None:
        if self._is_registered:
            self._end()

    def _replace_raise_signal(self) -> None:
        original = signal.raise_signal

        def raise_signal(signalnum: int, /) -> None:
            is_end = signalnum in _SIGNALS and signal.getsignal(signalnum) is signal.SIG_DFL
            if self._is_registered and is_end:
                self._end()
            original(signalnum)

        replacement = update_wrapper(raise_signal, original)
        signal.raise_signal, self._replaced = replacement, (replacement, original)


def is_uwsgi_master() -> bool:
    """Return whether this is uWSGI's master process, which forks its workers in C, where no hook of Python runs."""
    uwsgi = sys.modules.get("uwsgi")
    return uwsgi is not None and uwsgi.worker_id() == 0 and uwsgi.mule_id() == 0
