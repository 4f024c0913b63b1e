"""What keeps our own errors from the application: each is counted, the first is logged, none is raised.

Nothing else may stand here. Only `Exception` is kept: a KeyboardInterrupt or a cancellation is not ours.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")

_log = logging.getLogger("pool_exporter")


class HookErrors:
    """Counts the errors that our hooks kept from the application, and logs the first."""

    def __init__(self) -> None:
        self.count = 0

    def report(self, error: Exception) -> None:
        """Count *error*; never raise, not even when logging fails."""
        self.count += 1
        if self.count == 1:
            with suppress(Exception):
                _log.error("error in a pool_exporter hook; later ones are only counted", exc_info=error)


errors = HookErrors()
"""Those of this process."""


def guarded(hook: Callable[P, None]) -> Callable[P, None]:
    """Wrap *hook* so that nothing it raises reaches its caller."""

    @wraps(hook)
    def guard(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            hook(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is ours and not the application's
            errors.report(error)

    return guard
