"""Keeps the package's own errors from the application: each is counted, the first one is logged, none is raised.

Nothing here may know what a hook does. Only `Exception` is kept: KeyboardInterrupt and cancellation are the
application's.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from pool_exporter.errors import traceback_without_passwords

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("pool_exporter")

_MESSAGE: Final = "error in a pool_exporter hook; later ones are only counted\n%s"
"""With the traceback as a text: it may have an error of the driver, which quotes a password."""


class HookErrors:
    """Counts the errors that hooks have kept from the application, and logs the first."""

    def __init__(self) -> None:
        self.count = 0
        self._collected: list[Exception] | None = None

    def report(self, error: Exception) -> None:
        """Count *error*; never raise, not even when logging fails."""
        if self._collected is not None:
            self._collected.append(error)
            return
        self.count += 1
        if self.count == 1:
            try:  # noqa: SIM105  # near the recursion limit `suppress` itself fails
                _log.error(_MESSAGE, traceback_without_passwords(error))
            except Exception:  # noqa: BLE001, S110  # near the recursion limit `suppress` itself fails
                pass

    @contextmanager
    def collected(self) -> Iterator[list[Exception]]:
        """Collect the errors that are reported meanwhile in a list, and neither count nor log them."""
        found: list[Exception] = []
        self._collected = found
        try:
            yield found
        finally:
            self._collected = None


errors = HookErrors()
"""The errors of this process."""


def result_or_none(call: Callable[[], T]) -> T | None:
    """Return what *call* returns; None if it raises an Exception, which is counted."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001  # other results, of other pools, must not be lost
        errors.report(error)
        return None


def guarded(hook: Callable[P, None]) -> Callable[P, None]:
    """Wrap *hook* so that no Exception that it raises reaches its caller, and so that no interrupt leaves it half done.

    A signal handler or another thread may raise anything between two bytecodes of it. What it has to note happens all
    the same, so it is called once more after any exception, and must allow for that. What only adds to a counter has
    `guarded_once` instead: if a compiled transition adds, the exception may come just behind it.
    """

    @wraps(hook)
    def guard(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            hook(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # any error of a hook is the package's, not the application's
            errors.report(error)
            _call_again(hook, *args, **kwargs)
        except BaseException:
            _call_again(hook, *args, **kwargs)
            raise

    return guard


def guarded_once(hook: Callable[P, None]) -> Callable[P, None]:
    """Wrap *hook* likewise, without calling it again: what it counts, logs or sends would be there twice."""

    @wraps(hook)
    def guard(*args: P.args, **kwargs: P.kwargs) -> None:
        result_or_none(lambda: hook(*args, **kwargs))

    return guard


def _call_again(hook: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    try:  # noqa: SIM105  # near the recursion limit `suppress` itself fails
        hook(*args, **kwargs)
    except Exception:  # noqa: BLE001, S110  # as above; the first error is counted
        pass
